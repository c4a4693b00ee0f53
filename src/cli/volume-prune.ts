import { defineCommand } from "./command.ts";
import { mayPrune, pruneFilters, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    ...pruneFlags,
    all: { kind: "bool", short: "a", about: "Remove all that no container uses, named ones too" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const filters = { ...pruneFilters(flags), ...(flags.all ? { all: ["true"] } : {}) };
    const which = flags.all ? "local" : "anonymous local";
    const warning = `This will remove ${which} volumes not used by at least one container.`;
    if (!(await mayPrune(flags, warning))) return 0;
    const { VolumesDeleted, SpaceReclaimed } = await engineOf(globals).volumes.prune(filters);
    const isDry = flags["dry-run"];
    const title = isDry ? "Would delete volumes" : "Deleted Volumes";
    if (VolumesDeleted?.length) print(`${title}:\n${VolumesDeleted.join("\n")}\n`);
    print(`${isDry ? "Would reclaim" : "Total reclaimed space"}: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});
