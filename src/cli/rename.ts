import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { complain } from "./output.ts";

export const command = defineCommand({
  usage: "CONTAINER NEW_NAME",
  flags: {},
  arguments: { min: 2, max: 2 },
  async run({ args, globals }) {
    const [container = "", name = ""] = args;
    return engineOf(globals)
      .containers.rename(container, name)
      .then(
        () => 0,
        (error: unknown) => {
          complain(`${complaintText(error)}\nError: failed to rename container named ${container}`);
          return 1;
        },
      );
  },
});
