import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { confirm, pruneFlags } from "./confirm.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { removalText } from "./image-prune.ts";
import { parseFilters } from "./key-values.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    ...pruneFlags,
    all: {
      kind: "bool",
      short: "a",
      about: "Remove all images that no container uses, named ones too",
    },
    volumes: { kind: "bool", about: "Remove anonymous volumes too" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const filters = parseFilters(flags.filter);
    if (flags.volumes && filters["until"]) {
      throw new Failure("invalid", `The "until" filter is not supported with "--volumes"`);
    }
    const what = [
      "all stopped containers",
      "all networks not used by at least one container",
      ...(flags.volumes ? ["all anonymous volumes not used by at least one container"] : []),
      flags.all
        ? "all images without at least one container associated to them"
        : "all dangling images",
      flags.all ? "all build cache" : "unused build cache",
    ];
    const warning = `This will remove:\n${what.map((each) => `  - ${each}\n`).join("")}`;
    if (!flags.force && !(await confirm(warning))) return 0;
    const engine = engineOf(globals);
    let reclaimed = 0;
    const tell = (title: string, lines: readonly string[] | null | undefined): void => {
      if (lines && lines.length > 0) print(`${title}:\n${lines.join("\n")}\n`);
    };
    const containers = await engine.containers.prune(filters);
    tell("Deleted Containers", containers.ContainersDeleted);
    tell("Deleted Networks", (await engine.networks.prune(filters)).NetworksDeleted);
    if (flags.volumes) {
      const volumes = await engine.volumes.prune(filters);
      tell("Deleted Volumes", volumes.VolumesDeleted);
      reclaimed += volumes.SpaceReclaimed;
    }
    const dangling = [flags.all ? "false" : "true"];
    const images = await engine.images.prune({ ...filters, dangling });
    tell("Deleted Images", images.ImagesDeleted?.map(removalText));
    const builds = await engine.images.pruneBuilds({ all: flags.all, filters });
    tell("Deleted build cache objects", builds.CachesDeleted);
    reclaimed += containers.SpaceReclaimed + images.SpaceReclaimed + builds.SpaceReclaimed;
    print(`Total reclaimed space: ${humanSize(reclaimed, 4)}`);
    return 0;
  },
});
