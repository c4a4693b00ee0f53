import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { registryAuth } from "./credentials.ts";
import { configFolder, engineOf } from "./engine.ts";
import { print } from "./output.ts";
import { showProgress } from "./progress.ts";
import { fullName } from "./pull.ts";
import { readReference, withTag } from "./reference.ts";

export const command = defineCommand({
  usage: "[OPTIONS] NAME[:TAG]",
  flags: {
    "all-tags": { kind: "bool", short: "a", about: "Upload all tags of the repository" },
    "disable-content-trust": {
      kind: "bool",
      default: true,
      about: "Taken for compatibility; without effect",
    },
    platform: { kind: "string", about: "Upload this platform alone" },
    quiet: { kind: "bool", short: "q", about: "Do not show the progress" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const image = args[0]!;
    const { name, tag } = readReference(image);
    if (flags["all-tags"] && tag !== undefined) {
      throw new Failure("invalid", "tag can't be used with --all-tags/-a");
    }
    if (tag === undefined && !flags["all-tags"] && !flags.quiet) print("Using default tag: latest");
    const auth = await registryAuth(name, configFolder(globals));
    const query = {
      ...(flags["all-tags"] ? {} : { tag: tag ?? "latest" }),
      ...(flags.platform ? { platform: flags.platform } : {}),
    };
    const messages = await engineOf(globals).images.push(name, query, { auth: auth ?? {} });
    await showProgress(messages, { quiet: flags.quiet });
    if (flags.quiet) print(fullName(flags["all-tags"] ? image : withTag(image)));
    return 0;
  },
});
