import { defineCommand } from "./command.ts";
import { ContextStore } from "./contexts.ts";
import { readConfig, writeConfig } from "./credentials.ts";
import { configFolder } from "./engine.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "CONTEXT",
  flags: {},
  arguments: { min: 1, max: 1 },
  async run({ args, globals }) {
    const name = args[0]!;
    const folder = configFolder(globals);
    if (name !== "default") new ContextStore(folder).get(name);
    const { currentContext: _old, ...config } = readConfig(folder);
    writeConfig(name === "default" ? config : { ...config, currentContext: name }, folder);
    print(name);
    complain(`Current context is now "${name}"`);
    if (process.env["DOCKER_HOST"]) {
      complain("Warning: DOCKER_HOST overrides the active context: unset it, or use --context");
    }
    return 0;
  },
});
