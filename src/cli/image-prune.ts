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
    const filters = { ...pruneFilters(flags), dangling: [flags.all ? "false" : "true"] };
    const warning = flags.all
      ? "This will remove all images without at least one container associated to them."
      : "This will remove all dangling images.";
    if (!(await mayPrune(flags, warning))) return 0;
    const { ImagesDeleted, SpaceReclaimed } = await engineOf(globals).images.prune(filters);
    const isDry = flags["dry-run"];
    const title = isDry ? "Would delete images" : "Deleted Images";
    if (ImagesDeleted?.length) print(`${title}:\n${ImagesDeleted.map(removalText).join("\n")}\n`);
    // What images free is known only once they are gone.
    if (!isDry) print(`Total reclaimed space: ${humanSize(SpaceReclaimed, 4)}`);
    return 0;
  },
});

/** `untagged: busybox:latest`, `deleted: sha256:…`. */
export function removalText(removal: { Untagged: string } | { Deleted: string }): string {
  // The engine may send both fields, one of them empty.
  const { Untagged, Deleted } = removal as { Untagged?: string; Deleted?: string };
  return Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`;
}
