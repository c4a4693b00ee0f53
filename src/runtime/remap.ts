import { closeSync } from "node:fs";
import { log } from "../base/mod.ts";
import {
  closeNamespace,
  createUserNamespace,
  type IdMap,
  type IdRange,
  type NamespacePair,
  type NetworkNamespace,
  type OwnerMap,
} from "../sys/mod.ts";

/** The namespaces that one container will run in, until it does. */
export interface OwnNamespaces extends Disposable {
  readonly map: OwnerMap;
  /** Of the user namespace; leads through this process. */
  readonly userPath: string;
  /** Gives the network namespace away: whoever takes it closes it. */
  takeNetwork(): NetworkNamespace;
}

/**
 * A map of users for containers. Each container gets a user namespace of its own with it; one is made
 * ahead, as it takes a process. They are held by descriptors: what no process is in goes with this one.
 */
export class Remap implements OwnerMap {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
  /** A user namespace that nobody runs in, by which the kernel knows the map. */
  readonly file: number;
  #spare: Promise<NamespacePair> | undefined;

  private constructor({ uids, gids }: IdMap, first: NamespacePair) {
    this.uids = uids;
    this.gids = gids;
    this.file = first.user;
    closeNamespace(first.network);
  }

  /** @throws Failure "denied" | "unavailable" — the kernel makes no user namespace with this map */
  static async open(map: IdMap): Promise<Remap> {
    return new Remap(map, await createUserNamespace(map));
  }

  /** Namespaces for a container. Dispose of them when it runs, or will not. */
  async take(): Promise<OwnNamespaces> {
    const spare = this.#spare;
    this.#spare = undefined;
    const pair = await (spare ?? createUserNamespace(this)).catch(() => createUserNamespace(this));
    this.#prepare();
    return new Held(this, pair);
  }

  close(): void {
    closeSync(this.file);
    this.#spare?.then(closePair, () => {});
    this.#spare = undefined;
  }

  #prepare(): void {
    this.#spare ??= createUserNamespace(this);
    this.#spare.catch((error) => log("debug", "Cannot make a user namespace ahead", { error }));
  }
}

class Held implements OwnNamespaces {
  readonly map: OwnerMap;
  readonly userPath: string;
  readonly #user: number;
  #network: NetworkNamespace | undefined;

  constructor(map: OwnerMap, { user, network }: NamespacePair) {
    this.map = map;
    this.#user = user;
    this.#network = network;
    this.userPath = `/proc/${process.pid}/fd/${user}`;
  }

  takeNetwork(): NetworkNamespace {
    const network = this.#network!;
    this.#network = undefined;
    return network;
  }

  [Symbol.dispose](): void {
    closeSync(this.#user);
    if (this.#network) closeNamespace(this.#network);
    this.#network = undefined;
  }
}

function closePair({ user, network }: NamespacePair): void {
  closeSync(user);
  closeNamespace(network);
}
