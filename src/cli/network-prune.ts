import { defineCommand } from "./command.ts";
import { mayPrune, pruneFilters, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: pruneFlags,
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const warning = "This will remove all custom networks not used by at least one container.";
    if (!(await mayPrune(flags, warning))) return 0;
    const { NetworksDeleted } = await engineOf(globals).networks.prune(pruneFilters(flags));
    const title = flags["dry-run"] ? "Would delete networks" : "Deleted Networks";
    if (NetworksDeleted?.length) print(`${title}:\n${NetworksDeleted.join("\n")}\n`);
    return 0;
  },
});
