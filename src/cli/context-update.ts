import { defineCommand } from "./command.ts";
import { endpointFlags, parseEndpoint } from "./context-endpoint.ts";
import { ContextStore, checkContextName, metaOf } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTEXT",
  flags: endpointFlags,
  arguments: { min: 1, max: 1 },
  async run({ flags, args, given, globals }) {
    const name = args[0]!;
    checkContextName(name);
    const store = new ContextStore(configFolder(globals));
    const old = store.get(name);
    const { tls, ...endpoint } =
      flags.docker.length > 0
        ? parseEndpoint(flags.docker, { store, globals })
        : { host: old.host, skipTlsVerify: old.skipTlsVerify, tls: store.tls(name) };
    const description = given.has("description") ? flags.description : old.description;
    store.put(metaOf({ name, description, ...endpoint }), tls);
    print(name);
    complain(`Successfully updated context "${name}"`);
    return 0;
  },
});
