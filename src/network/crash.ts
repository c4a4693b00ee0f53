/** A program for tests: opens what it is told to, says so, and waits to be killed. */
import { Database } from "bun:sqlite";
import { openNetworkStore } from "./store.ts";
import type { NetworkSpec, SandboxSpec } from "./types.ts";

const [folder = "", bridge = "", networks = "[]", specs = "[]"] = process.argv.slice(2);
const database = new Database(`${folder}/state.db`);
database.run("PRAGMA journal_mode = WAL");
const store = await openNetworkStore({ database, directory: `${folder}/network`, bridge });
for (const network of JSON.parse(networks) as NetworkSpec[]) await store.create(network);
const sandboxes = [];
for (const spec of JSON.parse(specs) as SandboxSpec[]) sandboxes.push(await store.open(spec));
process.stdout.write(`${JSON.stringify(sandboxes)}\n`);
setInterval(() => {}, 1_000);
