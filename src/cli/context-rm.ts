import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { ContextStore } from "./contexts.ts";
import { readConfig, writeConfig } from "./credentials.ts";
import { configFolder } from "./engine.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTEXT [CONTEXT...]",
  flags: { force: { kind: "bool", short: "f", about: "Remove also the context in use" } },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const folder = configFolder(globals);
    const store = new ContextStore(folder);
    let code = 0;
    for (const name of args) {
      try {
        remove(name, { store, folder, force: flags.force });
        print(name);
      } catch (error) {
        complain((error as Error).message);
        code = 1;
      }
    }
    return code;
  },
});

function remove(
  name: string,
  { store, folder, force }: { store: ContextStore; folder: string; force: boolean },
): void {
  if (name === "default") {
    throw new Failure("invalid", `context "default" cannot be removed`);
  }
  if (!force) store.get(name);
  const { currentContext: current, ...config } = readConfig(folder);
  if (current === name) {
    const reason = `context "${name}" is in use, set -f flag to force remove`;
    if (!force) throw new Failure("conflict", reason);
    writeConfig(config, folder);
  }
  store.remove(name);
}
