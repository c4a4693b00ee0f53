import { defineCommand } from "./command.ts";
import { confirm, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { parseFilters } from "./key-values.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    ...pruneFlags,
    "dry-run": { kind: "bool", about: "Only say what would be removed" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const filters = parseFilters(flags.filter);
    const isDry = flags["dry-run"];
    const isAsked = !flags.force && !isDry;
    if (isAsked && !(await confirm("This will remove all stopped containers."))) return 0;
    const { containers } = engineOf(globals);
    const { ContainersDeleted, SpaceReclaimed } = await containers.prune(
      isDry ? { ...filters, "dry-run": ["true"] } : filters,
    );
    const title = isDry ? "Would delete containers" : "Deleted Containers";
    if (ContainersDeleted?.length) print(`${title}:\n${ContainersDeleted.join("\n")}\n`);
    const total = isDry ? "Would reclaim" : "Total reclaimed space";
    print(`${total}: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});
