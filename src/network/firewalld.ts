/**
 * firewalld decides by zones, and refuses what comes from a link that is in none when its default zone
 * does. So our bridges join the zone `trusted`, where everything passes: what comes to containers is our
 * own table's to decide. Docker makes a zone of its own, which takes a change of the configuration and a
 * reload; this one is there, and what joins it is forgotten with firewalld.
 */
import { isFailure, log } from "../base/mod.ts";
import { decodeHandle, getTable, type Netlink, runAny } from "../sys/mod.ts";

const zone = "trusted";
const timeoutMs = 10_000;
/** How soon after firewalld has read its configuration again the bridges are back in the zone. */
const lookMs = 3_000;
/** firewall-cmd's exit codes for a link that is in a zone of the administrator's choice, and in none. */
const [isElsewhere, isNowhere] = [18, 17];

/** Our bridges' places in firewalld's zones. Where there is no firewalld, a look costs 10 µs. */
export class Zones implements Disposable {
  readonly #filter: Netlink;
  readonly #bridges = new Set<string>();
  /** Those that are in the zone, as far as this firewalld goes. */
  readonly #admitted = new Set<string>();
  /** A firewalld that starts anew, or reads its configuration again, has a new table. */
  #table: bigint | undefined;
  #last: Promise<void> = Promise.resolve();
  readonly #looking: ReturnType<typeof setInterval>;

  constructor(filter: Netlink) {
    this.#filter = filter;
    this.#looking = setInterval(() => this.#look(), lookMs).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
  }

  /** Puts bridges into the zone, unless the administrator has put them into another one. */
  async admit(bridges: readonly string[]): Promise<void> {
    for (const bridge of bridges) this.#bridges.add(bridge);
    await this.#inTurn(() => this.#catchUp());
  }

  /** Takes bridges out again, all without a list; absent is fine. */
  async dismiss(bridges: readonly string[] = [...this.#bridges]): Promise<void> {
    for (const bridge of bridges) this.#bridges.delete(bridge);
    await this.#inTurn(async () => {
      const known = bridges.filter((bridge) => this.#admitted.delete(bridge));
      if (known.length > 0 && this.#find() === this.#table) await change("remove", known);
    });
  }

  #look(): void {
    if (this.#bridges.size === 0 || this.#find() === this.#table) return;
    void this.#inTurn(() => this.#catchUp());
  }

  async #catchUp(): Promise<void> {
    const table = this.#find();
    if (table !== this.#table) this.#admitted.clear();
    this.#table = table;
    const fresh = [...this.#bridges].filter((bridge) => !this.#admitted.has(bridge));
    if (table === undefined || fresh.length === 0) return;
    if (await change("add", fresh)) for (const bridge of fresh) this.#admitted.add(bridge);
  }

  async #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => undefined);
    await turn;
  }

  #find(): bigint | undefined {
    try {
      return decodeHandle(this.#filter.get(getTable("inet", "firewalld")));
    } catch (error) {
      if (!isFailure(error, "not_found")) log("debug", "Cannot look for firewalld", { error });
      return undefined;
    }
  }
}

/**
 * By the program that comes with firewalld (250 ms); false where that could not do it. A firewall that
 * does not answer holds nothing up.
 */
async function change(verb: "add" | "remove", bridges: readonly string[]): Promise<boolean> {
  const links = bridges.map((bridge) => `--${verb}-interface=${bridge}`);
  const where = { zone, bridges: bridges.join(" ") };
  try {
    const argv = ["firewall-cmd", `--zone=${zone}`, ...links] as const;
    const { exitCode, stderr } = await runAny([...argv], { timeoutMs });
    if (exitCode === 0 || exitCode === isNowhere || exitCode === isElsewhere) return true;
    log("warn", `Cannot ${verb} bridges in firewalld's zone`, { ...where, why: stderr.trim() });
    return false;
  } catch (error) {
    log("warn", `Cannot ${verb} bridges in firewalld's zone`, { ...where, error });
    return false;
  }
}
