import { defineCommand } from "./command.ts";
import { confirm, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { parseFilters } from "./key-values.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: pruneFlags,
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const filters = parseFilters(flags.filter);
    if (!flags.force && !(await confirm("This will remove all stopped containers."))) return 0;
    const { ContainersDeleted, SpaceReclaimed } = await engineOf(globals).containers.prune(filters);
    if (ContainersDeleted?.length) print(`Deleted Containers:\n${ContainersDeleted.join("\n")}\n`);
    print(`Total reclaimed space: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});
