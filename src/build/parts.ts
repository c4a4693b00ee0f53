import { randomBytes } from "node:crypto";
import { Failure } from "../base/mod.ts";
import type { Agent } from "./ssh-agent.ts";

/** As BuildKit has it. */
export const secretBytesMax = 500 << 10;
const secretsMax = 256;
const agentsMax = 64;
const lifeMs = 10 * 60_000;

/**
 * What a client hands over before its build, in memory alone: secrets, and connections to SSH agents.
 * A secret is given out once, and forgotten when no build asks for it.
 */
export class Parts {
  readonly #secrets = new Map<
    string,
    { bytes: Uint8Array; timer: ReturnType<typeof setTimeout> }
  >();
  readonly #agents = new Map<string, Agent>();

  /** Keeps a secret and gives the handle to ask for it. @throws Failure "exhausted" */
  put(bytes: Uint8Array): string {
    if (bytes.length > secretBytesMax) {
      throw new Failure("exhausted", `Cannot take the secret: over ${secretBytesMax} bytes`);
    }
    if (this.#secrets.size >= secretsMax) {
      throw new Failure("exhausted", `Cannot take the secret: ${secretsMax} wait for their builds`);
    }
    const handle = randomBytes(32).toString("hex");
    const timer = setTimeout(() => this.#secrets.delete(handle), lifeMs);
    timer.unref();
    this.#secrets.set(handle, { bytes, timer });
    return handle;
  }

  /** Gives a secret out, once. @throws Failure "not_found" */
  take(handle: string): Uint8Array {
    const held = this.#secrets.get(handle);
    if (!held) {
      throw new Failure("not_found", "No such secret for a build: it was used, or is too old", {
        hint: "Send it with POST /build/secrets, and the build within ten minutes",
      });
    }
    clearTimeout(held.timer);
    this.#secrets.delete(handle);
    return held.bytes;
  }

  /** Makes an agent known under a handle that the client chose. @throws Failure "conflict" | … */
  offer(handle: string, agent: Agent): Disposable {
    if (!/^[A-Za-z0-9]{32,128}$/.test(handle)) {
      throw new Failure(
        "invalid",
        "Cannot forward an SSH agent: id is 32 to 128 letters or digits",
      );
    }
    if (this.#agents.has(handle)) {
      throw new Failure("conflict", "Cannot forward an SSH agent: that id is in use");
    }
    if (this.#agents.size >= agentsMax) {
      throw new Failure("exhausted", `Cannot forward an SSH agent: ${agentsMax} are forwarded`);
    }
    this.#agents.set(handle, agent);
    return { [Symbol.dispose]: () => this.#agents.delete(handle) };
  }

  /** @throws Failure "not_found" */
  agent(handle: string): Agent {
    const agent = this.#agents.get(handle);
    if (agent) return agent;
    throw new Failure("not_found", "No such SSH agent for a build: its connection is not open", {
      hint: "Open it with POST /build/ssh, and keep it open until the build has ended",
    });
  }
}
