import { log } from "../base/mod.ts";
import type { Ipam } from "./ipam.ts";
import type { Attachment } from "./records.ts";
import type { Wire } from "./wire.ts";

/** When to look whether the kernel has taken the links away with their namespace; ms. */
const looksMs = [40, 40, 80, 160, 320, 640];

/**
 * Waits for closed sandboxes' links to go. A namespace without a process takes its links along, some
 * 30 ms after its last descriptor is closed, in the kernel's own time. Links that stay, because a
 * process lives on in the namespace, are deleted. Only then the addresses are free: an earlier reuse
 * would have two interfaces answer for one address.
 */
export class Reaper {
  readonly #wire: Wire;
  readonly #ipam: Ipam;
  readonly #leaving = new Map<string, Promise<void>>();

  constructor(wire: Wire, ipam: Ipam) {
    this.#wire = wire;
    this.#ipam = ipam;
  }

  /** `left` settles when those who are told of it know: plugins. */
  take(containerId: string, attachments: readonly Attachment[], left?: Promise<void>): void {
    const before = this.#leaving.get(containerId);
    const mine = (async () => {
      await before;
      await left;
      await this.#reap(attachments);
    })().catch((error: unknown) => {
      log("warn", "Cannot delete a container's links", { containerId, error });
    });
    const done = mine.then(() => {
      if (this.#leaving.get(containerId) === done) this.#leaving.delete(containerId);
    });
    this.#leaving.set(containerId, done);
  }

  async #reap(attachments: readonly Attachment[]): Promise<void> {
    let links = attachments.flatMap(({ link }) => (link ? [link] : []));
    for (const lookMs of looksMs) {
      if (links.length === 0) break;
      await Bun.sleep(lookMs);
      links = links.filter((link) => this.#wire.find(link));
    }
    await this.#wire.deleteLinks(links);
    for (const { endpoint } of attachments) {
      for (const address of [endpoint.address, endpoint.address6]) {
        if (address) this.#ipam.release(endpoint.networkId, address);
      }
    }
  }

  has(containerId: string): boolean {
    return this.#leaving.has(containerId);
  }

  /** Waits until a container has left, for at most `timeoutMs`. */
  async settled(containerId: string, timeoutMs: number): Promise<void> {
    const leaving = this.#leaving.get(containerId);
    if (leaving) await Promise.race([leaving, Bun.sleep(timeoutMs)]);
  }

  async finish(): Promise<void> {
    await Promise.all(this.#leaving.values());
  }
}
