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
    all: { kind: "bool", short: "a", about: "Remove all of it, not the dangling part alone" },
    "keep-storage": { kind: "bytes", about: "Keep this much" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const warning = flags.all
      ? "This will remove all build cache."
      : "This will remove all dangling build cache.";
    if (!flags.force && !(await confirm(warning))) return 0;
    const { CachesDeleted, SpaceReclaimed } = await engineOf(globals).images.pruneBuilds({
      all: flags.all,
      filters: parseFilters(flags.filter),
      ...(flags["keep-storage"] > 0 ? { "keep-storage": flags["keep-storage"] } : {}),
    });
    if (CachesDeleted?.length) {
      print(`Deleted build cache objects:\n${CachesDeleted.join("\n")}\n`);
    }
    print(`Total reclaimed space: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});
