import { defineCommand } from "./command.ts";
import { forEachName } from "./complaint.ts";
import { engineOf } from "./engine.ts";

/** At most this many containers stop at a time, as with Docker's client. */
const widthMax = 50;

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: {
    signal: { kind: "string", short: "s", about: "Signal to send first" },
    timeout: {
      kind: "int",
      short: "t",
      about: "Seconds to wait before the kill; -1 to wait for ever",
    },
    time: { kind: "int", about: "", hidden: true, sameAs: "timeout" },
  },
  arguments: { min: 1 },
  async run({ flags, args, given, globals }) {
    const engine = engineOf(globals);
    const t = given.has("timeout") ? flags.timeout : undefined;
    const query = { signal: flags.signal, ...(t === undefined ? {} : { t }) };
    const stop = async (name: string) => {
      await engine.containers.stop(name, query);
      return name;
    };
    return forEachName(args, stop, { width: widthMax });
  },
});
