import { Failure } from "../base/mod.ts";
import { alignColumns } from "./columns.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";
import { runningFlags, runningMode } from "./volume-running.ts";

export const command = defineCommand({
  usage: "[OPTIONS] ls|create|restore|rm VOLUME [SNAPSHOT]",
  flags: runningFlags,
  arguments: { min: 2, max: 3 },
  async run({ flags, args, globals }) {
    const [verb = "", volume = "", name = ""] = args;
    const { volumes } = engineOf(globals);
    const needed = () => {
      if (name !== "") return name;
      throw new Failure("invalid", `"volume snapshot ${verb}" needs the name of a snapshot`);
    };
    switch (verb) {
      case "ls":
      case "list": {
        const rows = (await volumes.snapshots(volume)).map((each) => [each.Name, each.CreatedAt]);
        const lines = [["SNAPSHOT", "CREATED"], ...rows].map((cells) => cells.join("\t"));
        print(alignColumns(lines.join("\n")));
        return 0;
      }
      case "create": {
        const query = { ...(name ? { name } : {}), running: runningMode(flags) };
        print((await volumes.takeSnapshot(volume, query)).Name);
        return 0;
      }
      case "restore":
        await volumes.restoreSnapshot(volume, needed());
        break;
      case "rm":
      case "remove":
        await volumes.removeSnapshot(volume, needed());
        break;
      default:
        throw new Failure("invalid", `unknown command: volume snapshot ${verb}`, {
          hint: 'Use "ls", "create", "restore" or "rm"',
        });
    }
    print(name);
    return 0;
  },
});
