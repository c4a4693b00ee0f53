import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { endpointFlags, endpointOfContext, parseEndpoint } from "./context-endpoint.ts";
import { ContextStore, checkContextName, metaOf } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTEXT",
  flags: { ...endpointFlags, from: { kind: "string", about: "Take all from this context" } },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const name = args[0]!;
    checkContextName(name);
    const store = new ContextStore(configFolder(globals));
    if (store.has(name)) throw new Failure("conflict", `context "${name}" already exists`);
    const from = flags.from || (flags.docker.length === 0 ? "default" : "");
    if (flags.from && flags.docker.length > 0) {
      throw new Failure("invalid", "cannot use --docker flag when --from is set");
    }
    const { tls, ...endpoint } = from
      ? endpointOfContext(from, store, globals)
      : parseEndpoint(flags.docker, { store, globals });
    const inherited = from && from !== "default" ? store.get(from).description : "";
    store.put(metaOf({ name, description: flags.description || inherited, ...endpoint }), tls);
    print(name);
    complain(`Successfully created context "${name}"`);
    return 0;
  },
});
