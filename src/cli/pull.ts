import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { configFolder, engineOf } from "./engine.ts";
import { print } from "./output.ts";
import { pullImage } from "./pull-image.ts";
import { readReference, withTag } from "./reference.ts";

export const command = defineCommand({
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  flags: {
    "all-tags": { kind: "bool", short: "a", about: "Download all tags of the repository" },
    "disable-content-trust": {
      kind: "bool",
      default: true,
      about: "Taken for compatibility; without effect",
    },
    platform: { kind: "string", about: "Download this platform" },
    quiet: { kind: "bool", short: "q", about: "Do not show the progress" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const image = args[0]!;
    const { tag } = readReference(image);
    if (flags["all-tags"] && tag !== undefined) {
      throw new Failure("invalid", "tag can't be used with --all-tags/-a");
    }
    if (tag === undefined && !flags.quiet && !flags["all-tags"]) print("Using default tag: latest");
    await pullImage(engineOf(globals), image, {
      platform: flags.platform,
      quiet: flags.quiet,
      isForRun: false,
      allTags: flags["all-tags"],
      configFolder: configFolder(globals),
    });
    print(fullName(flags["all-tags"] ? image : withTag(image)));
    return 0;
  },
});

/** The name with its registry, as a pull ends with it. */
export function fullName(image: string): string {
  const [first, ...rest] = image.split("/") as [string, ...string[]];
  if (rest.length === 0) return `docker.io/library/${image}`;
  return /[.:]/.test(first) || first === "localhost" ? image : `docker.io/${image}`;
}
