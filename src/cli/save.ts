import { writeArchive } from "./archive-output.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";

export const command = defineCommand({
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  flags: {
    output: { kind: "string", short: "o", about: "Write to this file instead of STDOUT" },
    platform: { kind: "string", about: "Save this platform" },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    const query = flags.platform ? { platform: platformJson(flags.platform) } : {};
    await writeArchive(flags.output, () => engine.images.save(args, query));
    return 0;
  },
});

/** `linux/arm/v7` as the API has it. */
export function platformJson(text: string): string {
  const [os = "", architecture, variant] = text.split("/");
  return JSON.stringify({
    os,
    ...(architecture ? { architecture } : {}),
    ...(variant ? { variant } : {}),
  });
}
