import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "NETWORK [NETWORK...]",
  flags: { force: { kind: "bool", short: "f", about: "A network that is absent is no error" } },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    let code = 0;
    for (const name of args) {
      try {
        await engine.networks.remove(name);
        print(name);
      } catch (error) {
        if (flags.force && (error as { code?: string }).code === "not_found") continue;
        complain(complaintText(error));
        code = 1;
      }
    }
    return code;
  },
});
