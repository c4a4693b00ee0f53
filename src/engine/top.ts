import { Failure } from "../base/mod.ts";
import { runAny } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { requireLive } from "./stop.ts";

const timeoutMs = 10_000;
const argsMax = 100;

/** As `Engine.top`: the host's `ps`, without the processes of others. */
export async function top(
  core: Core,
  id: string,
  psArgs: string,
): Promise<{ titles: string[]; processes: string[][] }> {
  requireLive(core, id);
  if (core.records.get(id).state.status === "restarting") {
    throw new Failure("conflict", `Container ${id} is restarting, wait until it is running`);
  }
  const args = psArgs.split(/\s+/).filter((arg) => arg !== "");
  if (args.length > argsMax) throw new Failure("invalid", "Cannot run ps: too many arguments");
  const pids = new Set(await core.runtime.pids(id));
  const ps = await runAny(["ps", ...(args.length > 0 ? args : ["-ef"])], { timeoutMs });
  if (ps.exitCode !== 0) throw new Failure("internal", `ps: ${ps.stderr.split("\n")[0]}`);
  const table = parseProcesses(new TextDecoder().decode(ps.stdout), pids);
  core.events.container(core.records.get(id), "top");
  return table;
}

/** Picks the rows of `pids` out of what ps printed. @throws "invalid" — there is no PID column */
export function parseProcesses(
  text: string,
  pids: ReadonlySet<number>,
): { titles: string[]; processes: string[][] } {
  const [header = "", ...rows] = text.split("\n");
  const titles = header.split(/\s+/).filter((title) => title !== "");
  const column = titles.indexOf("PID");
  if (column < 0) throw new Failure("invalid", "Couldn't find PID field in ps output");
  const processes = rows
    .map((row) => cells(row, titles.length))
    .filter((row) => pids.has(Number(row[column])));
  return { titles, processes };
}

/** The last cell, the command, takes all that is left. */
function cells(row: string, count: number): string[] {
  const words = row.split(/\s+/).filter((word) => word !== "");
  if (words.length <= count) return words;
  return [...words.slice(0, count - 1), words.slice(count - 1).join(" ")];
}
