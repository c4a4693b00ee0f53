import type { StatsAnswer } from "../api/schema.ts";
import { defineCommand } from "./command.ts";
import { type Client, engineOf } from "./engine.ts";
import { listingText } from "./listing.ts";
import { complain, flushOutput, write } from "./output.ts";
import { measure, type Reading, statsListing } from "./stats-reading.ts";

const intervalMs = 500;

export const command = defineCommand({
  usage: "[OPTIONS] [CONTAINER...]",
  flags: {
    all: { kind: "bool", short: "a", about: "Show stopped containers too" },
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    "no-stream": { kind: "bool", about: "Show the first result and quit" },
    "no-trunc": { kind: "bool", about: "Do not shorten" },
  },
  arguments: { min: 0 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    const readings = new Map<string, Reading>();
    const listing = statsListing(flags["no-trunc"]);
    const text = () => listingText([...readings.values()], listing, { format: flags.format });
    const names = args.length > 0 ? args : await known(engine, flags.all);
    if (flags["no-stream"]) {
      const all = await Promise.all(names.map((name) => readOnce(engine, name)));
      names.forEach((name, at) => {
        if (all[at]) readings.set(name, measure(name, all[at]));
      });
      write(text());
      return all.includes(undefined) && args.length > 0 ? 1 : 0;
    }
    for (const name of names) follow(engine, name, readings);
    for (;;) {
      await Bun.sleep(intervalMs);
      if (args.length > 0 && readings.size === 0) return 1;
      if (args.length === 0) {
        for (const name of await known(engine, flags.all)) follow(engine, name, readings);
      }
      // Home, the table with each line's old rest wiped, then all that is below.
      write(`\x1b[H${text().replaceAll("\n", "\x1b[K\n")}\x1b[J`);
      await flushOutput();
    }
  },
});

async function known(engine: Client, all: boolean): Promise<string[]> {
  return (await engine.containers.list({ all })).map(({ Id }) => Id);
}

async function readOnce(engine: Client, name: string): Promise<StatsAnswer | undefined> {
  try {
    for await (const stats of await engine.containers.stats(name, { stream: false })) return stats;
  } catch (error) {
    complain((error as Error).message);
  }
  return undefined;
}

/** Keeps the reading of one container up to date until it ends. */
function follow(engine: Client, name: string, readings: Map<string, Reading>): void {
  if (readings.has(name)) return;
  readings.set(name, measure(name, undefined));
  const read = async () => {
    for await (const stats of await engine.containers.stats(name)) {
      readings.set(name, measure(name, stats));
    }
  };
  read()
    .catch((error: unknown) => complain((error as Error).message))
    .finally(() => readings.delete(name));
}
