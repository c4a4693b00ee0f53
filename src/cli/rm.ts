import { isFailure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { complaintText, forEachName } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { complain } from "./output.ts";

/** At most this many containers are removed at a time, as with Docker's client. */
const widthMax = 50;

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: {
    force: { kind: "bool", short: "f", about: "Kill it first if it runs" },
    link: { kind: "bool", short: "l", about: "Remove the link, not the container" },
    volumes: { kind: "bool", short: "v", about: "Remove its anonymous volumes too" },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    const query = { force: flags.force, link: flags.link, v: flags.volumes };
    const remove = async (name: string) => {
      const bare = name.replace(/^\/+|\/+$/g, "");
      try {
        await engine.containers.remove(bare, query);
      } catch (error) {
        if (!flags.force || !isFailure(error, "not_found")) throw error;
        complain(complaintText(error)); // and it is gone, as was asked
        return undefined;
      }
      return name;
    };
    return forEachName(args, remove, { width: widthMax });
  },
});
