import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { createBody } from "./create-body.ts";
import { createContainer } from "./create-container.ts";
import { engineOf } from "./engine.ts";
import { complain, print } from "./output.ts";
import { createFlags } from "./run-flags.ts";

export const command = defineCommand({
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: createFlags,
  arguments: { min: 1 },
  interspersed: false,
  failureCode: 125,
  async run(call) {
    const body = await createBody(call);
    try {
      print(await createContainer(engineOf(call.globals), body, call.flags));
      return 0;
    } catch (error) {
      // Flags that make no sense are 125; a create that fails is 1, as with Docker's client.
      complain(complaintText(error));
      return 1;
    }
  },
});
