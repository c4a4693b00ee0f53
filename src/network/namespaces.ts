import { log } from "../base/mod.ts";
import { closeNamespace, createNamespace, type NetworkNamespace } from "../sys/mod.ts";
import { startLoopback } from "./inside.ts";

const refillMs = 15;

/**
 * Namespaces with their loopback up, one of them made before it is needed. They are held by file
 * descriptors, not by mounts: if the daemon dies, those without a process in them are gone with it.
 */
export class Namespaces {
  #spare: NetworkNamespace | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  take(): NetworkNamespace {
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
    if (this.#spare) closeNamespace(this.#spare);
    this.#spare = undefined;
  }
}

function make(): NetworkNamespace {
  const namespace = createNamespace();
  try {
    startLoopback(namespace);
    return namespace;
  } catch (error) {
    closeNamespace(namespace);
    throw error;
  }
}
