import { isFailure, log } from "../base/mod.ts";
import {
  type BaseChain,
  changeRules,
  getChain,
  type Netlink,
  type NftElement,
  runAny,
} from "../sys/mod.ts";
import { bridgesIn, type Family, families } from "./ruleset.ts";

/** Where iptables, and with it Docker, has its rules for what is forwarded. */
const iptables = { table: "filter", chain: "FORWARD" } as const;
/** Bridges of Docker engines: into them leads what they let in themselves. */
const strangers = ["docker0", "br-*"];

/**
 * The way of our bridges through iptables' FORWARD chain where its policy is to drop: a chain of our own
 * at the end of it, so that what others' rules refuse stays refused, and our own table still decides
 * about what comes in. No sets: iptables would refuse to show a table that has any.
 */
export class Passage {
  readonly #filter: Netlink;
  readonly #chain: string;
  /** The bridges that are let through, as one text. */
  readonly #known = new Map<Family, string>();
  #last: Promise<void> = Promise.resolve();

  /** `table` is the engine's own: its name tells engines apart. */
  constructor(filter: Netlink, table: string) {
    this.#filter = filter;
    this.#chain = table.replace(/^lading/, "LADING");
  }

  /** Whether a chain that drops is one that can be passed. */
  static leadsThrough({ table, name }: BaseChain): boolean {
    return table === iptables.table && name === iptables.chain;
  }

  /**
   * Lets these bridges through, unless they are; false when that cannot be. Costs 20 µs when they are,
   * and two processes otherwise.
   */
  async open(family: Family, elements: readonly NftElement[]): Promise<boolean> {
    try {
      await this.#inTurn(() => this.#open(family, elements));
      return true;
    } catch (error) {
      log("warn", "Cannot let containers through the FORWARD chain of iptables", { error });
      return false;
    }
  }

  async #open(family: Family, elements: readonly NftElement[]): Promise<void> {
    const bridges = bridgesIn(family, elements);
    if (bridges.length === 0) return;
    const text = bridges.sort().join(" ");
    if (this.#known.get(family) === text && this.#isThere(family)) return;
    const hasJump = (await this.#jumps(family)).length > 0;
    await changeRules(passageText(family, { chain: this.#chain, bridges, hasJump }));
    this.#known.set(family, text);
  }

  /** Takes the rules away; absent is fine. */
  async close(): Promise<void> {
    await this.#inTurn(() => this.#close());
  }

  /** A look at the rules and the change that follows from it are not to be interleaved with others. */
  async #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => undefined);
    await turn;
  }

  async #close(): Promise<void> {
    for (const family of families) {
      if (!this.#isThere(family)) continue;
      const { table, chain } = iptables;
      const jumps = (await this.#jumps(family)).map(
        (handle) => `delete rule ${family} ${table} ${chain} handle ${handle}\n`,
      );
      await changeRules(`${jumps.join("")}delete chain ${family} ${table} ${this.#chain}\n`);
      this.#known.delete(family);
    }
  }

  #isThere(family: Family): boolean {
    try {
      this.#filter.get(getChain(family, iptables.table, this.#chain));
      return true;
    } catch (error) {
      if (isFailure(error, "not_found")) return false;
      throw error;
    }
  }

  /** Handles of the rules that lead into our chain. */
  async #jumps(family: Family): Promise<string[]> {
    const argv = ["nft", "-a", "list", "chain", family, iptables.table, iptables.chain] as const;
    const { stdout } = await runAny([...argv], { timeoutMs: 10_000 });
    const lines = new TextDecoder().decode(stdout).split("\n");
    return lines.flatMap((line) => {
      const [, chain, handle] = /\bjump (\S+) # handle (\d+)$/.exec(line) ?? [];
      return chain === this.#chain && handle !== undefined ? [handle] : [];
    });
  }
}

/** The script that makes the chain what it shall be. */
export function passageText(
  family: Family,
  asked: { chain: string; bridges: readonly string[]; hasJump: boolean },
): string {
  const { table, chain } = iptables;
  const add = (rule: string) => `add rule ${family} ${table} ${asked.chain} ${rule}\n`;
  return [
    `add chain ${family} ${table} ${asked.chain}\n`,
    `flush chain ${family} ${table} ${asked.chain}\n`,
    ...asked.bridges.map((name) => add(`oifname "${name}" counter accept`)),
    ...strangers.map((name) => add(`oifname "${name}" counter return`)),
    ...asked.bridges.map((name) => add(`iifname "${name}" counter accept`)),
    asked.hasJump ? "" : `add rule ${family} ${table} ${chain} counter jump ${asked.chain}\n`,
  ].join("");
}
