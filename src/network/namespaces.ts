import { log } from "../base/mod.ts";
import {
  changeLink,
  closeNamespace,
  createNamespace,
  type Netlink,
  type NetworkNamespace,
  openNetlink,
  withinNamespace,
} from "../sys/mod.ts";

const refillMs = 15;
const loopback = 1;

/** A namespace and a socket that was opened in it, which speaks for it from anywhere. */
export interface Place {
  readonly namespace: NetworkNamespace;
  readonly netlink: Netlink;
}

export function placeOf(namespace: NetworkNamespace): Place {
  return { namespace, netlink: withinNamespace(namespace, () => openNetlink()) };
}

/** Lets go of it: the kernel takes it away when no process is in it. */
export function leavePlace({ namespace, netlink }: Place): void {
  netlink.close();
  closeNamespace(namespace);
}

/**
 * Namespaces with their loopback up, one of them made before it is needed. They are held by file
 * descriptors, not by mounts: if the daemon dies, those without a process in them are gone with it.
 */
export class Namespaces {
  #spare: Place | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  take(): Place {
    const spare = this.#spare;
    this.#spare = undefined;
    this.prepare();
    return spare ?? make();
  }

  /** Makes the spare one soon, when this thread has nothing better to do. */
  prepare(): void {
    if (this.#timer || this.#spare || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#isClosed) return;
      try {
        this.#spare = make();
      } catch (error) {
        log("warn", "Cannot make a network namespace ahead", { error }); // `take` will say it.
      }
    }, refillMs);
    this.#timer.unref();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    if (this.#spare) leavePlace(this.#spare);
    this.#spare = undefined;
  }
}

function make(): Place {
  return setUp(createNamespace());
}

/** Opens a namespace that is new, with its loopback up; it is closed where that fails. */
export function setUp(namespace: NetworkNamespace): Place {
  try {
    const place = placeOf(namespace);
    place.netlink.execute([changeLink(loopback)]);
    return place;
  } catch (error) {
    closeNamespace(namespace);
    throw error;
  }
}
