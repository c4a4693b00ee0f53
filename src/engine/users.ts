/**
 * Who the users of a container are on the host. A container in a user namespace has a map; without one,
 * its root is the host's.
 */
import { chownSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import type { Remap } from "../runtime/mod.ts";
import {
  canMapOwners,
  type IdMap,
  type NetworkNamespace,
  type OwnerMap,
  ownerOutside,
} from "../sys/mod.ts";
import type { Core } from "./core.ts";
import type { Container, HostConfig } from "./types.ts";

/** The maps that containers get. */
export interface Users {
  /** The map for a `--userns`; undefined for the host's users. @throws as `Remap.open` */
  of(mode: string): Promise<Remap | undefined>;
}

/** All containers have the host's users. */
export const hostUsers: Users = { of: async () => undefined };

/** What a start needs of a container's user namespace. Dispose of it when the container runs. */
export interface UserNamespace extends Disposable {
  readonly map: OwnerMap;
  readonly path: string;
  /** Gives a network namespace that belongs to it; undefined where it is another container's. */
  readonly takeNetwork: (() => NetworkNamespace) | undefined;
}

/**
 * The map for a container's users. Who needs the host's is refused: at create, and at a start, as the
 * daemon may be another than the one that made it. @throws Failure "invalid" in Docker's words
 */
export async function chooseUsers({ users }: Core, host: HostConfig): Promise<Remap | undefined> {
  const map = await users.of(host.UsernsMode);
  if (!map) return undefined;
  const refuse = (message: string) => {
    return new Failure("invalid", message, { hint: "Give it the host's users: --userns=host" });
  };
  if (host.Privileged) {
    throw refuse(
      "privileged mode is incompatible with user namespaces.  You must run the container in the " +
        "host namespace when running privileged mode",
    );
  }
  if (host.NetworkMode === "host") {
    throw refuse("cannot share the host's network namespace when user namespaces are enabled");
  }
  if (host.PidMode === "host") {
    throw refuse("cannot share the host PID namespace when user namespaces are enabled");
  }
  return map;
}

/** The user namespace for the next run: a new one, or that of whose namespaces the container shares. */
export async function openUsers(
  core: Core,
  { hostConfig }: Container,
): Promise<UserNamespace | undefined> {
  const map = await chooseUsers(core, hostConfig);
  if (!map) return undefined;
  const { NetworkMode, PidMode, IpcMode } = hostConfig;
  const donors = [NetworkMode, PidMode, IpcMode].flatMap((mode) => donorOf(core, mode) ?? []);
  const [donor] = donors;
  if (!donor) {
    const own = await map.take();
    return {
      map,
      path: own.userPath,
      takeNetwork: () => own.takeNetwork(),
      [Symbol.dispose]: () => own[Symbol.dispose](),
    };
  }
  // The kernel lets nobody into a namespace that belongs to another user namespace than their own.
  const other = donors.find(({ id, owners }) => !isSame(owners, map) || id !== donor.id);
  if (other) {
    const why = isSame(other.owners, map) ? "another user namespace" : "other users";
    throw new Failure(
      "conflict",
      `cannot join a namespace of container ${other.id}: it has ${why}`,
      {
        hint: "Give both the same --userns, and take all namespaces from one container",
      },
    );
  }
  const path = `/proc/${donor.pid}/ns/user`;
  return { map, path, takeNetwork: undefined, [Symbol.dispose]: () => {} };
}

function donorOf(core: Core, mode: string) {
  if (!mode.startsWith("container:")) return undefined;
  const { id } = core.records.resolve(mode.slice("container:".length));
  const live = core.live.get(id);
  if (!live) return undefined; // whoever joins its namespaces says so
  return { id, pid: live.process.pid, owners: core.records.inside(id).owners };
}

function isSame(one: IdMap | undefined, other: IdMap): boolean {
  return JSON.stringify([one?.uids, one?.gids]) === JSON.stringify([other.uids, other.gids]);
}

/** Mounts a container's root, as its users see it now or at the next start. */
export async function mountRoot(
  core: Core,
  id: string,
): Promise<{ root: string; owners: IdMap | undefined }> {
  if (core.live.has(id)) {
    return { root: await core.snapshots.mount(id, "any"), owners: core.records.inside(id).owners };
  }
  const owners = await core.users.of(core.records.get(id).hostConfig.UsernsMode);
  return { root: await core.snapshots.mount(id, owners), owners };
}

/** Whose owners the files of a volume have on the disk: those inside, where a mount can show others. */
export function ownersOnDisk(path: string, owners: IdMap | undefined): IdMap | undefined {
  return owners && "file" in owners && canMapOwners(path, owners as OwnerMap) ? undefined : owners;
}

/** Gives files of the host's that are mounted into a container to its root. */
export function giveToRoot(paths: readonly string[], map: IdMap | undefined): void {
  const owner = map && ownerOutside(map, { uid: 0, gid: 0 });
  if (!owner) return;
  for (const path of paths) if (path !== "") chownSync(path, owner.uid, owner.gid);
}
