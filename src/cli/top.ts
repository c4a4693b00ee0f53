import { alignColumns } from "./columns.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "CONTAINER [ps OPTIONS]",
  flags: {},
  arguments: { min: 1 },
  interspersed: false,
  async run({ args, globals }) {
    const [container = "", ...options] = args;
    const query = options.length > 0 ? { ps_args: options.join(" ") } : {};
    const { Titles, Processes } = await engineOf(globals).containers.top(container, query);
    const lines = [Titles, ...(Processes ?? [])].map((cells) => cells.join("\t"));
    print(alignColumns(lines.join("\n"), { widthMin: 20 }));
    return 0;
  },
});
