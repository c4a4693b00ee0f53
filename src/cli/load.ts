import { openArchive } from "./archive-output.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { showProgress } from "./progress.ts";
import { platformJson } from "./save.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    input: { kind: "string", short: "i", about: "Read from this file instead of STDIN" },
    platform: { kind: "string", about: "Load this platform" },
    quiet: { kind: "bool", short: "q", about: "Do not show the progress" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const archive = await openArchive(flags.input);
    const { isatty } = require("node:tty") as typeof import("node:tty");
    const messages = await engineOf(globals).images.load(archive, {
      quiet: flags.quiet || !isatty(1),
      ...(flags.platform ? { platform: platformJson(flags.platform) } : {}),
    });
    await showProgress(messages);
    return 0;
  },
});
