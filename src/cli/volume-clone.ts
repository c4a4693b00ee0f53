import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";
import { runningFlags, runningMode } from "./volume-running.ts";

export const command = defineCommand({
  usage: "[OPTIONS] VOLUME NEW_VOLUME",
  flags: runningFlags,
  arguments: { min: 2, max: 2 },
  async run({ flags, args, globals }) {
    const [from = "", to = ""] = args;
    const query = { to, running: runningMode(flags) };
    print((await engineOf(globals).volumes.clone(from, query)).Name);
    return 0;
  },
});
