import { framesOf } from "../api/client.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { write } from "./output.ts";
import { timeArgument } from "./time-argument.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER",
  flags: {
    details: { kind: "bool", about: "Show the labels and variables that --log-opt named" },
    follow: { kind: "bool", short: "f", about: "Go on with what is printed from now on" },
    since: { kind: "string", about: "From this time on: a date, or 42m for 42 minutes ago" },
    tail: { kind: "string", short: "n", default: "all", about: "Lines to show from the end" },
    timestamps: { kind: "bool", short: "t", about: "Show the time before each line" },
    until: { kind: "string", about: "Before this time" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const reply = await engineOf(globals).containers.logs(args[0]!, {
      stdout: true,
      stderr: true,
      follow: flags.follow,
      timestamps: flags.timestamps,
      details: flags.details,
      tail: flags.tail,
      since: timeArgument(flags.since),
      until: timeArgument(flags.until),
    });
    for await (const { stream, bytes } of framesOf(reply)) await write(bytes, stream === 1 ? 1 : 2);
    return 0;
  },
});
