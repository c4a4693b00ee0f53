/** Endpoints of what Lading has not: swarm, plugins. They say so in Docker's words. */
import { Failure } from "../base/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import type { Route } from "./router.ts";

function notManager(): void {
  throw new Failure(
    "unavailable",
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect ' +
      "this node to swarm and try again.",
  );
}

function notInSwarm(): void {
  throw new Failure("unavailable", "This node is not part of a swarm");
}

function noSwarm(): void {
  throw new Failure("unsupported", "Cannot make this engine part of a swarm: Lading has none");
}

function noPlugins(exchange: Exchange): void {
  exchange.json(200, []);
}

function noSuchPlugin(_: Exchange, __: Context, [name = ""]: readonly string[]): void {
  throw new Failure("not_found", `plugin "${name.slice(0, 300)}" not found`);
}

function noPluginSupport(): void {
  throw new Failure("unsupported", "Cannot install a plugin: Lading runs none");
}

/** List, make, look at, change and remove: a node outside a swarm refuses each alike. */
function managed(kind: string): Route[] {
  return [
    ["GET", `/${kind}`, notManager],
    ["POST", `/${kind}/create`, notManager],
    ["GET", `/${kind}/{id}`, notManager],
    ["DELETE", `/${kind}/{id}`, notManager],
    ["POST", `/${kind}/{id}/update`, notManager],
    ["GET", `/${kind}/{id}/logs`, notManager],
  ];
}

export const routes: readonly Route[] = [
  ["GET", "/swarm", notManager],
  ["POST", "/swarm/init", noSwarm],
  ["POST", "/swarm/join", noSwarm],
  ["POST", "/swarm/leave", notInSwarm],
  ["POST", "/swarm/update", notManager],
  ["GET", "/swarm/unlockkey", notManager],
  ["POST", "/swarm/unlock", notInSwarm],
  ...["nodes", "services", "tasks", "secrets", "configs"].flatMap(managed),
  ["GET", "/plugins", noPlugins],
  ["GET", "/plugins/privileges", noPluginSupport],
  ["POST", "/plugins/pull", noPluginSupport],
  ["POST", "/plugins/create", noPluginSupport],
  ["GET", "/plugins/{name}/json", noSuchPlugin],
  ["POST", "/plugins/{name}/enable", noSuchPlugin],
  ["POST", "/plugins/{name}/disable", noSuchPlugin],
  ["POST", "/plugins/{name}/upgrade", noSuchPlugin],
  ["POST", "/plugins/{name}/push", noSuchPlugin],
  ["POST", "/plugins/{name}/set", noSuchPlugin],
  ["DELETE", "/plugins/{name}", noSuchPlugin],
];
