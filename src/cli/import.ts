import { openArchive } from "./archive-output.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { showProgress } from "./progress.ts";
import { readReference } from "./reference.ts";

export const command = defineCommand({
  usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
  flags: {
    change: { kind: "list", short: "c", about: "Dockerfile instruction to apply to the image" },
    message: { kind: "string", short: "m", about: "What it is" },
    platform: { kind: "string", about: "Platform of the image" },
  },
  arguments: { min: 1, max: 2 },
  async run({ flags, args, globals }) {
    const [source = "", reference] = args;
    const { name, tag } = reference ? readReference(reference) : { name: "", tag: "" };
    const isUrl = /^https?:\/\//.test(source);
    const query = {
      fromSrc: isUrl ? source : "-",
      repo: name,
      tag: tag ?? "",
      message: flags.message,
      changes: flags.change,
      platform: flags.platform,
    };
    const body = isUrl ? undefined : await openArchive(source);
    await showProgress(await engineOf(globals).images.import(query, body));
    return 0;
  },
});
