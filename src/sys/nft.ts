import { isFailure } from "../base/mod.ts";
import { run, runAny } from "./run.ts";

// The first rules after a host's start make the kernel load its modules, which takes a slow machine
// half a minute.
const patienceMs = 120_000;

/** Changes the rule set in one transaction, all or nothing: nft(8). @throws as `run` */
export async function changeRules(script: string, timeoutMs = patienceMs): Promise<void> {
  await run(["nft", "-f", "-"], { input: script, timeoutMs });
}

/** A table as nft prints it, or undefined when there is none. */
export async function readTable(family: string, name: string): Promise<string | undefined> {
  const outcome = await runAny(["nft", "list", "table", family, name], { timeoutMs: patienceMs });
  return outcome.exitCode === 0 ? new TextDecoder().decode(outcome.stdout) : undefined;
}

/** Removes tables; absent is fine. */
export async function removeTables(tables: readonly (readonly [string, string])[]): Promise<void> {
  // "delete" fails when there is none; to declare it first makes it so.
  const lines = tables.map(([family, name]) => {
    const table = `table ${family} ${name}`;
    return `${table} {}\ndelete ${table}\n`;
  });
  try {
    await changeRules(lines.join(""));
  } catch (error) {
    if (!isFailure(error, "unavailable")) throw error; // Without nft there are no tables of ours.
  }
}
