import { defineCommand } from "./command.ts";
import { createBody } from "./create-body.ts";
import { createContainer } from "./create-container.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";
import { createFlags } from "./run-flags.ts";

export const command = defineCommand({
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: createFlags,
  arguments: { min: 1 },
  interspersed: false,
  async run(call) {
    const body = await createBody(call);
    print(await createContainer(engineOf(call.globals), body, call.flags));
    return 0;
  },
});
