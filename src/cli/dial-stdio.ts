import { dial } from "../api/client.ts";
import { defineCommand } from "./command.ts";
import { endpointOf } from "./engine.ts";
import { write } from "./output.ts";

export const command = defineCommand({
  usage: "",
  flags: {},
  arguments: { min: 0, max: 0 },
  async run({ globals }) {
    const connection = await dial(endpointOf(globals));
    const sending = (async () => {
      for await (const bytes of Bun.stdin.stream()) await connection.write(bytes);
      connection.closeWrite();
    })();
    sending.catch(() => connection.close()); // the reader below ends with it
    for (;;) {
      const bytes = await connection.read();
      if (bytes === undefined) return 0;
      await write(bytes);
    }
  },
});
