import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { readReference } from "./reference.ts";

export const command = defineCommand({
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  flags: {},
  arguments: { min: 2, max: 2 },
  async run({ args, globals }) {
    const [source = "", target = ""] = args;
    const { name, tag } = readReference(target);
    await engineOf(globals).images.tag(source, { repo: name, tag: tag ?? "latest" });
    return 0;
  },
});
