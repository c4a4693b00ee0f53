/** The endpoints of containers: what they are and what is done to them. */

import { Failure } from "../base/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { readFields, readOptionalFields } from "./fields.ts";
import { containerFolders } from "./graph-driver.ts";
import { listContainers, sizesOf } from "./list-containers.ts";
import { parseCreate } from "./parse-container.ts";
import { parseUpdate } from "./parse-host.ts";
import { flag, parsePrune, whole } from "./query.ts";
import { routes as archiveRoutes } from "./route-archive.ts";
import { checkpointRoutes, noCheckpoints } from "./route-checkpoints.ts";
import { routes as execRoutes } from "./route-exec.ts";
import { routes as streamRoutes } from "./route-streams.ts";
import { routes as webSocketRoutes } from "./route-websocket.ts";
import type { Route } from "./router.ts";
import { containerInspect } from "./wire-container.ts";

async function create(exchange: Exchange, { engine }: Context): Promise<void> {
  const { query, minor } = exchange;
  const body = await readFields(exchange);
  const request = parseCreate(body, {
    name: query.get("name") ?? "",
    platform: query.get("platform") ?? "",
    minor,
  });
  const { id, warnings } = await engine.create(request);
  exchange.json(201, { Id: id, Warnings: warnings });
}

async function inspect(
  exchange: Exchange,
  context: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const container = context.engine.resolve(name);
  const graph = containerFolders(context, container.id);
  if (!flag(exchange.query, "size")) {
    exchange.json(200, containerInspect(context.engine, container, { graph }));
    return;
  }
  const { SizeRw: rw, SizeRootFs: root } = await sizesOf(context, container);
  exchange.json(200, containerInspect(context.engine, container, { graph, sizes: { rw, root } }));
}

type Act = (id: string, exchange: Exchange, context: Context) => Promise<void>;

/** An endpoint that does something to a container and answers 204. */
function act(perform: Act): Route[2] {
  return async (exchange, context, [name = ""]) => {
    await perform(context.engine.resolve(name).id, exchange, context);
    exchange.empty(204);
  };
}

function stopOptions(exchange: Exchange): { signal?: string; timeoutS?: number } {
  const signal = exchange.query.get("signal") ?? "";
  const timeoutS = whole(exchange.query, "t");
  return {
    ...(signal === "" ? {} : { signal }),
    ...(timeoutS === undefined ? {} : { timeoutS }),
  };
}

const kill: Act = (id, { query }, { engine }) => engine.kill(id, query.get("signal") || "SIGKILL");

const rename: Act = (id, { query }, { engine }) => {
  const name = query.get("name") ?? "";
  if (name === "") throw new Failure("invalid", "Neither old nor new names may be empty");
  return engine.rename(id, name);
};

const remove: Act = (id, { query }, { engine }) => {
  if (flag(query, "link")) {
    throw new Failure("conflict", "Conflict, cannot remove the default link name of the container");
  }
  return engine.remove(id, { force: flag(query, "force"), volumes: flag(query, "v") });
};

/** `rm --link OWNER/ALIAS`: the only name with a slash. */
async function unlink(
  exchange: Exchange,
  { engine }: Context,
  [owner = "", alias = ""]: readonly string[],
): Promise<void> {
  if (!flag(exchange.query, "link")) engine.resolve(`${owner}/${alias}`);
  await engine.unlink(owner, alias);
  exchange.empty(204);
}

async function update(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { id } = engine.resolve(name);
  const warnings = await engine.update(id, parseUpdate(await readFields(exchange)));
  exchange.json(200, { Warnings: warnings });
}

async function top(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { id } = engine.resolve(name);
  const { titles, processes } = await engine.top(id, exchange.query.get("ps_args") || "-ef");
  exchange.json(200, { Titles: titles, Processes: processes });
}

async function changes(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const list = await engine.changes(engine.resolve(name).id);
  exchange.json(
    200,
    list.map(({ path, kind }) => ({ Path: path, Kind: kind })),
  );
}

async function prune(exchange: Exchange, { engine }: Context): Promise<void> {
  const { filters, isDry } = parsePrune(exchange.query, ["until", "label", "label!"]);
  const { ids, reclaimedBytes } = await engine.prune(filters, { isDry });
  exchange.json(200, { ContainersDeleted: ids, SpaceReclaimed: reclaimedBytes });
}

async function commit(exchange: Exchange, { engine }: Context): Promise<void> {
  const { query } = exchange;
  const name = query.get("container") ?? "";
  if (name === "") throw new Failure("invalid", "Cannot commit: the query names no container");
  const { parseRunConfig } = await import("./parse-container.ts");
  const body = await readOptionalFields(exchange);
  const { id } = engine.resolve(name);
  const repo = query.get("repo") ?? "";
  const tag = query.get("tag") ?? "";
  const image = await engine.commit(id, {
    ...(repo === "" ? {} : { reference: tag === "" ? repo : `${repo}:${tag}` }),
    author: query.get("author") ?? "",
    comment: query.get("comment") ?? "",
    pause: flag(query, "pause", true),
    changes: query.getAll("changes").flatMap((each) => each.split("\n")),
    config: parseRunConfig(body),
  });
  exchange.json(201, { Id: image.id });
}

export const routes: readonly Route[] = [
  ...checkpointRoutes,
  ["GET", "/containers/json", listContainers],
  ["POST", "/containers/create", create],
  ["POST", "/containers/prune", prune],
  ["GET", "/containers/{id}/json", inspect],
  ["GET", "/containers/{id}/top", top],
  ["GET", "/containers/{id}/changes", changes],
  [
    "POST",
    "/containers/{id}/start",
    act((id, { query }, { engine }) => {
      if (query.get("checkpoint")) noCheckpoints();
      return engine.start(id);
    }),
  ],
  ["POST", "/containers/{id}/stop", act((id, x, { engine }) => engine.stop(id, stopOptions(x)))],
  [
    "POST",
    "/containers/{id}/restart",
    act((id, x, { engine }) => engine.restart(id, stopOptions(x))),
  ],
  ["POST", "/containers/{id}/kill", act(kill)],
  ["POST", "/containers/{id}/pause", act((id, _, { engine }) => engine.pause(id))],
  ["POST", "/containers/{id}/unpause", act((id, _, { engine }) => engine.unpause(id))],
  ["POST", "/containers/{id}/rename", act(rename)],
  ["POST", "/containers/{id}/update", update],
  ["DELETE", "/containers/{id}", act(remove)],
  ["DELETE", "/containers/{id}/{name}", unlink],
  ["POST", "/commit", commit],
  ...streamRoutes,
  ...execRoutes,
  ...archiveRoutes,
  ...webSocketRoutes,
];
