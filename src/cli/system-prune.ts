import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { mayPrune, pruneFlags } from "./confirm.ts";
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
    if (!(await mayPrune(flags, warning))) return 0;
    const isDry = flags["dry-run"];
    const engine = engineOf(globals);
    let reclaimed = 0;
    const verb = isDry ? "Would delete" : "Deleted";
    const tell = (what: string, lines: readonly string[] | null | undefined): void => {
      if (lines && lines.length > 0) print(`${verb} ${what}:\n${lines.join("\n")}\n`);
    };
    const dry = isDry ? { "dry-run": ["true"] } : {};
    const containers = await engine.containers.prune({ ...filters, ...dry });
    const gone = containers.ContainersDeleted ?? [];
    // As they would be without the containers that would be gone by then.
    const without = isDry && gone.length > 0 ? { without: [...gone] } : {};
    const rest = { ...filters, ...dry, ...without };
    tell("Containers", gone);
    tell("Networks", (await engine.networks.prune(rest)).NetworksDeleted);
    if (flags.volumes) {
      const volumes = await engine.volumes.prune(rest);
      tell("Volumes", volumes.VolumesDeleted);
      reclaimed += volumes.SpaceReclaimed;
    }
    const dangling = [flags.all ? "false" : "true"];
    const images = await engine.images.prune({ ...rest, dangling });
    tell("Images", images.ImagesDeleted?.map(removalText));
    const cache = { all: flags.all, filters, ...(isDry ? { "dry-run": true } : {}) };
    const builds = await engine.images.pruneBuilds(cache);
    tell("build cache objects", builds.CachesDeleted);
    reclaimed += containers.SpaceReclaimed + images.SpaceReclaimed + builds.SpaceReclaimed;
    // What images free is known only once they are gone.
    const total = isDry ? "Would reclaim, images aside" : "Total reclaimed space";
    print(`${total}: ${humanSize(reclaimed, 4)}`);
    return 0;
  },
});
