import { randomBytes } from "node:crypto";
import { Failure, log } from "../base/mod.ts";
import { ignoreBytesMax } from "./ignore.ts";
import { dockerfileBytesMax } from "./lines.ts";
import { Root } from "./rooted.ts";
import type { TakenContext } from "./types.ts";

const uploadsMax = 64;
const lifeMs = 10 * 60_000;

/**
 * Named contexts that clients sent before their builds. Each is given out once, or ends unasked for: after
 * ten minutes, and with the daemon, which must not leave the mounts of those in memory.
 */
export class Uploads implements AsyncDisposable {
  readonly #waiting = new Map<
    string,
    { taken: TakenContext; timer: ReturnType<typeof setTimeout> }
  >();

  /** @throws Failure "exhausted" — the folder is disposed of */
  async keep(taken: TakenContext): Promise<string> {
    if (this.#waiting.size >= uploadsMax) {
      await taken[Symbol.asyncDispose]();
      throw new Failure(
        "exhausted",
        `Cannot keep the context: ${uploadsMax} wait for their builds`,
      );
    }
    const handle = randomBytes(16).toString("hex");
    const timer = setTimeout(() => {
      this.#waiting.delete(handle);
      void end(taken);
    }, lifeMs);
    timer.unref();
    this.#waiting.set(handle, { taken, timer });
    return handle;
  }

  /**
   * A Dockerfile that was sent as the one file of its context, and the ignore file beside it.
   * @throws Failure "not_found" | "invalid"
   */
  async dockerfile(handle: string): Promise<{ text: string; ignore?: string }> {
    await using taken = this.take(handle);
    using root = new Root(taken.path);
    const text = root.text("Dockerfile", dockerfileBytesMax);
    if (text === undefined) {
      throw new Failure("invalid", "Cannot build: the Dockerfile that was sent ahead is not there");
    }
    const ignore = root.text("Dockerfile.dockerignore", ignoreBytesMax);
    return ignore === undefined ? { text } : { text, ignore };
  }

  /** The folder is the caller's now. @throws Failure "not_found" */
  take(handle: string): TakenContext {
    const held = this.#waiting.get(handle);
    if (!held) {
      throw new Failure("not_found", "No such context for a build: it was used, or is too old", {
        hint: "Send it with POST /build/contexts, and the build within ten minutes",
      });
    }
    clearTimeout(held.timer);
    this.#waiting.delete(handle);
    return held.taken;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#waiting.keys()].map((handle) => end(this.take(handle))));
  }
}

async function end(taken: TakenContext): Promise<void> {
  try {
    await taken[Symbol.asyncDispose]();
  } catch (error) {
    log("warn", "Cannot remove a context that no build asked for", { error });
  }
}
