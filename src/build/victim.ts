/** A process that builds until it is killed: `victim.ts DIRECTORY BRIDGE CONTEXT`. Prints the output. */
import { requestOf } from "./fakes.ts";
import { importBusybox, openStores } from "./real-stores.ts";

const [directory = "", bridge = "", contextPath = ""] = process.argv.slice(2);
const stores = await openStores(directory, bridge);
await importBusybox(stores);
await stores.builder.build(requestOf({ contextPath }), (event) => {
  if (event.kind === "output") process.stdout.write(event.bytes);
});
