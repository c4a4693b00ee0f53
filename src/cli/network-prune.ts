import { defineCommand } from "./command.ts";
import { confirm, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { parseFilters } from "./key-values.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: pruneFlags,
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const filters = parseFilters(flags.filter);
    const warning = "This will remove all custom networks not used by at least one container.";
    if (!flags.force && !(await confirm(warning))) return 0;
    const { NetworksDeleted } = await engineOf(globals).networks.prune(filters);
    if (NetworksDeleted?.length) print(`Deleted Networks:\n${NetworksDeleted.join("\n")}\n`);
    return 0;
  },
});
