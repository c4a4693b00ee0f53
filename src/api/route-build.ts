/** The endpoints of builds. */
import { Failure } from "../base/mod.ts";
import {
  type BuildCall,
  type BuildRequest,
  buildCalls,
  parseSourcePolicy,
  type RegistryLogin,
} from "../build/mod.ts";
import type { Engine } from "../engine/mod.ts";
import { familiarReference, parseReference, withDefaultTag } from "../oci/mod.ts";
import { cachePlaces } from "./build-caches.ts";
import { parseLimits } from "./build-limits.ts";
import { buildTexts } from "./build-text.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, parseJson, textOf } from "./fields.ts";
import { ProgressAnswer } from "./progress.ts";
import { flag, whole } from "./query.ts";
import { contextRoutes, openContexts } from "./route-build-contexts.ts";
import { buildMessages, historyRoutes } from "./route-build-history.ts";
import { partRoutes, partsOf } from "./route-build-parts.ts";
import { pruneRoutes } from "./route-build-prune.ts";
import { isStored, producedMessage, resultRoutes, resultsOf } from "./route-build-results.ts";
import { buildBySession, isSessionBuild, sessionRoutes } from "./route-build-session.ts";
import type { Route } from "./router.ts";
import type { BuildEventMessage } from "./schema.ts";

/** What is kept of a quiet build's words, in case that it fails. */
const heldCharactersMax = 1 << 17;

async function build(exchange: Exchange, context: Context): Promise<void> {
  const { query } = exchange;
  if (isSessionBuild(query)) return await buildBySession(exchange, context);
  using late = timeLimit(whole(query, "timeout") ?? 0);
  const signal = late ? AbortSignal.any([exchange.signal, late.signal]) : exchange.signal;
  const parsed = parseBuild(query);
  const asked = { ...parsed, networkMode: networkModeOf(context.engine, parsed.networkMode) };
  const registries = registriesOf(exchange);
  const results = resultsOf(query, asked.tags);
  const parts = partsOf(query, context.builder);
  await using cleanup = new AsyncDisposableStack();
  const caches = cachePlaces(query, context.builder, cleanup);
  const given = { ...asked, ...parts, ...caches, signal };
  let demand = (_: BuildEventMessage) => {};
  const opening = { asked: given, cleanup, demand: (event: BuildEventMessage) => demand(event) };
  const opened = await openContexts(exchange, context, opening);
  const call = callOf(query);
  if (call) {
    exchange.json(200, await context.builder.call(call, { ...given, ...opened }));
    return;
  }
  const answer = new ProgressAnswer(exchange);
  demand = (event) => answer.send({ event });
  const isQuiet = flag(query, "q");
  const isLive = flag(query, "events");
  const textOfEvent = buildTexts(flag(query, "explain"));
  const messageOfEvent = buildMessages();
  let held = "";
  await answer.run(async () => {
    const work = context.builder.produce(
      { ...given, ...results, ...opened, registries, isLive },
      (event) => {
        if (isQuiet) {
          held = `${held}${textOfEvent(event)}`.slice(-heldCharactersMax);
          return;
        }
        if (event.kind === "pull") answer.report(event.progress);
        if (event.kind === "image") answer.send({ aux: { ID: event.id } });
        if (isLive) {
          const message = messageOfEvent(event);
          if (message) answer.send({ event: message });
          return;
        }
        const text = textOfEvent(event);
        if (text !== "") answer.send({ stream: text });
      },
    );
    const outcome = await work.catch((error: unknown) => {
      // What a quiet build had kept to itself explains the failure.
      if (held !== "") answer.send({ stream: held });
      throw error;
    });
    answer.send(producedMessage(outcome));
    if (isLive) return;
    if (isQuiet) answer.send({ stream: `${outcome.id}\n` });
    else if (isStored(results.outputs))
      for (const tag of asked.tags) answer.send({ stream: `Successfully tagged ${named(tag)}\n` });
  });
}

/** A signal that says after so long that the build is to end; undefined without a limit. */
function timeLimit(ms: number): ({ readonly signal: AbortSignal } & Disposable) | undefined {
  if (ms === 0) return undefined;
  const abort = new AbortController();
  const failure = new Failure("timeout", `The build took longer than ${ms / 1000} s`, {
    hint: "--timeout allows more",
  });
  const timer = setTimeout(() => abort.abort(failure), Math.min(ms, 2 ** 31 - 1));
  return { signal: abort.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}

/** `call=check`, `outline` or `targets`; a build is no call. @throws Failure "invalid" */
function callOf(query: URLSearchParams): BuildCall | undefined {
  const text = query.get("call") ?? "";
  if (text === "" || text === "build") return undefined;
  const found = buildCalls.find((each) => each === text);
  if (found) return found;
  throw new Failure("invalid", `Cannot call "${text.slice(0, 100)}" of a Dockerfile`, {
    hint: `Known are ${buildCalls.join(", ")}`,
  });
}

/** The credentials that clients send with a build, by the registry's address. @throws "invalid" */
function registriesOf({ headers }: Exchange): Record<string, RegistryLogin> {
  const text = Buffer.from(headers.get("x-registry-config") ?? "", "base64url").toString();
  const fields = new Fields({ registries: parseJson(text || "null") }, "X-Registry-Config");
  const login = (value: unknown, where: string): RegistryLogin => {
    const entry = new Fields(value, where);
    const names = ["username", "password", "identitytoken"] as const;
    const found = names.map((name) => [name, entry.text(name)] as const);
    return Object.fromEntries(found.filter(([, each]) => each !== undefined));
  };
  return fields.record("registries", login) ?? {};
}

/** `hello:latest` for `hello`. */
function named(tag: string): string {
  return familiarReference(withDefaultTag(parseReference(tag)));
}

const networkModes = ["", "default", "bridge", "host", "none"];

/** `container:NAME` with its full ID. @throws "not_found" | "invalid" — it has no network of its own | "unsupported" */
function networkModeOf(engine: Engine, mode: string): string {
  if (networkModes.includes(mode)) return mode;
  if (!mode.startsWith("container:")) {
    throw new Failure("unsupported", `Cannot build on network "${mode.slice(0, 200)}"`, {
      hint: "--network is default, none, host or container:NAME",
    });
  }
  const { id, name, hostConfig } = engine.resolve(mode.slice("container:".length));
  if (!/^(host$|container:)/.test(hostConfig.NetworkMode)) return `container:${id}`;
  throw new Failure("invalid", `Cannot build on the network of ${name}: it has none of its own`);
}

type Asked = Omit<BuildRequest, "contextPath" | "signal">;

/** The query of `POST /build`. @throws Failure "invalid" */
export function parseBuild(query: URLSearchParams): Asked {
  const object = (name: string) => new Fields({ [name]: parseJson(query.get(name) || "null") }, "");
  return {
    dockerfile: { path: query.get("dockerfile") || "Dockerfile" },
    tags: query.getAll("t").filter((each) => each !== ""),
    buildArgs:
      object("buildargs").record("buildargs", (value, where) =>
        value === null ? null : textOf(value, where),
      ) ?? {},
    labels: object("labels").labels("labels") ?? {},
    target: query.get("target") ?? "",
    noCache: flag(query, "nocache"),
    noCacheFilter: query.getAll("nocachefilter").filter((each) => each !== ""),
    pull: flag(query, "pull"),
    platform: query.get("platform") ?? "",
    networkMode: query.get("networkmode") ?? "",
    extraHosts: query.getAll("extrahosts").flatMap(extraHosts),
    shmSizeBytes: whole(query, "shmsize") ?? 0,
    memoryBytes: whole(query, "memory") ?? 0,
    cpuShares: whole(query, "cpushares") ?? 0,
    limits: parseLimits(query),
    ...sourcePolicyOf(query),
  };
}

/** `sourcepolicy={"rules":[…]}`. @throws Failure "invalid" */
function sourcePolicyOf(query: URLSearchParams): Pick<BuildRequest, "sourcePolicy"> {
  const text = query.get("sourcepolicy") ?? "";
  return text === "" ? {} : { sourcePolicy: parseSourcePolicy(text) };
}

/** One `name:address`, a list with commas, or a list in JSON: clients differ. */
function extraHosts(text: string): string[] {
  if (text.startsWith("[")) {
    return new Fields({ extrahosts: parseJson(text) }, "").texts("extrahosts") ?? [];
  }
  return text.split(",").filter((each) => each !== "");
}

export const routes: readonly Route[] = [
  ["POST", "/build", build],
  ...pruneRoutes,
  ...resultRoutes,
  ...partRoutes,
  ...historyRoutes,
  ...contextRoutes,
  ...sessionRoutes,
];
