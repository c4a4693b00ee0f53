import { defineCommand } from "./command.ts";
import { unitListing } from "./disk-listing.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { showListing } from "./listing.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    repair: { kind: "bool", about: "Remove what nothing owns; containers may run on" },
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
  },
  arguments: { min: 0, max: 0 },
  /** Exit code 1 while something is left that nothing owns. */
  async run({ flags, globals }) {
    const { orphans, collectedBytes } = await engineOf(globals).system.checkDisk(flags.repair);
    if (orphans.length > 0) showListing(orphans, unitListing, { format: flags.format });
    const left = orphans.filter(({ repaired }) => !repaired);
    const bytes = orphans.reduce((sum, each) => sum + (each.repaired ? each.bytes : 0), 0);
    if (flags.format !== "" && flags.format !== "table") return left.length > 0 ? 1 : 0;
    if (orphans.length === 0) print("Everything on the disk has an owner");
    if (flags.repair) print(`Total reclaimed space: ${humanSize(bytes + collectedBytes, 4)}`);
    else if (left.length > 0) print("Remove them: lading system fsck --repair");
    return left.length > 0 ? 1 : 0;
  },
});
