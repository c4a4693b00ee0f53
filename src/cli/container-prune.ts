import { defineCommand } from "./command.ts";
import { mayPrune, pruneFilters, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: pruneFlags,
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    if (!(await mayPrune(flags, "This will remove all stopped containers."))) return 0;
    const { containers } = engineOf(globals);
    const { ContainersDeleted, SpaceReclaimed } = await containers.prune(pruneFilters(flags));
    const isDry = flags["dry-run"];
    const title = isDry ? "Would delete containers" : "Deleted Containers";
    if (ContainersDeleted?.length) print(`${title}:\n${ContainersDeleted.join("\n")}\n`);
    const total = isDry ? "Would reclaim" : "Total reclaimed space";
    print(`${total}: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});
