import { defineCommand } from "./command.ts";
import { defaultContext, inspectContext } from "./context-endpoint.ts";
import { ContextStore } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { currentContext } from "./globals.ts";
import { formatFlag, inspectObjects } from "./inspect-objects.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
  flags: { format: formatFlag },
  arguments: { min: 0 },
  async run({ flags, args, globals }) {
    const store = new ContextStore(configFolder(globals));
    const names = args.length > 0 ? args : [currentContext(globals)];
    return inspectObjects(names, flags.format, async (name) =>
      inspectContext(name === "default" ? defaultContext(globals) : store.get(name)),
    );
  },
});
