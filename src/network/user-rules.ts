/**
 * The administrator's own rules for what goes to and from containers: a chain that packets pass before
 * ours, in a table of its own, which is made once and never written again.
 */
import { removeTables, runAny } from "../sys/mod.ts";

const chain = "forward";
const waitMs = 10_000;

export const userTable = (table: string) => `${table}-user`;

/** Makes the chain where it is absent; one that is there stays as it is, rules included. */
export function userChainText(table: string): string {
  const name = userTable(table);
  const hook = "type filter hook forward priority filter - 5; policy accept;";
  return `add table inet ${name}\nadd chain inet ${name} ${chain} { ${hook} }\n`;
}

/** Takes the table away, unless somebody has put anything into it. */
export async function removeUserChain(table: string): Promise<void> {
  const name = userTable(table);
  const { exitCode, stdout } = await runAny(["nft", "list", "table", "inet", name], {
    timeoutMs: waitMs,
  });
  if (exitCode === 0 && isAsMade(new TextDecoder().decode(stdout))) {
    await removeTables([["inet", name]]);
  }
}

/** Whether a table, as nft lists it, has one chain and no rule. */
export function isAsMade(listing: string): boolean {
  const lines = listing.split("\n").map((line) => line.trim());
  const known = [
    /^table inet \S+ \{$/,
    /^chain forward \{$/,
    /^type filter hook .*;$/,
    /^\}$/,
    /^$/,
  ];
  return lines.every((line) => known.some((pattern) => pattern.test(line)));
}
