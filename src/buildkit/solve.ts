/** One build for a client of BuildKit's protocol. */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import {
  type Agent,
  type BuildCall,
  type Builder,
  type BuildRequest,
  type Produced,
  parseOutput,
  type RegistryLogin,
} from "../build/mod.ts";
import { readFolder, readTexts, type Wish } from "./filesync.ts";
import type { Progress } from "./progress.ts";
import { needsOf, readAttributes, readContexts } from "./request.ts";
import { sendFile, sendFolder } from "./send.ts";
import { agentOf, loginOf, type Session, secretOf } from "./session.ts";

/** By the names of BuildKit's sub-requests. */
const subjects: ReadonlyMap<string, BuildCall> = new Map([
  ["frontend.lint", "check"],
  ["frontend.outline", "outline"],
  ["frontend.targets", "targets"],
]);
/** Of a Dockerfile, or of its ignore rules. */
const sizeBytesMax = 16 << 20;
/** Docker Hub, as clients ask for its login, and as they keep it. */
const hub = { domain: "docker.io", asked: "registry-1.docker.io" };

export interface Solve {
  readonly builder: Builder;
  readonly session: Session;
  readonly progress: Progress;
  readonly attributes: ReadonlyMap<string, string>;
  readonly exporters: readonly Exporter[];
  readonly allow: readonly string[];
  /** A context that is here already, instead of the session's. */
  readonly contextPath?: string;
  readonly signal: AbortSignal;
}

/** Where a result goes: a type with its attributes. */
export interface Exporter {
  readonly type: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** Fetches what the build needs from its client, and builds. @throws Failure */
export async function solve(asked: Solve): Promise<Produced> {
  const { builder, progress, exporters } = asked;
  const outputs = exporters.map(({ type, attributes }) =>
    parseOutput(type === "moby" ? "image" : type, Object.fromEntries(attributes), []),
  );
  await using cleanup = new AsyncDisposableStack();
  const request = { ...(await prepare(asked, cleanup)), outputs };
  const produced = await builder.produce(request, (event) => progress.report(event));
  await progress.track("exporting", async (key) => {
    for (const tag of outputs.flatMap((each) => ("names" in each ? each.names : []))) {
      progress.status(key, `naming to ${tag}`, { isDone: true });
    }
    for (const { output, handle } of produced.exports) {
      await send(asked, exporters[output]!.type, builder.fetch(handle));
      progress.status(key, "copying files to the client", { isDone: true });
    }
  });
  return produced;
}

/** What can be asked about a Dockerfile instead of building it, as plain data. @throws Failure */
export async function answer(asked: Solve, subject: string): Promise<object> {
  const call = subjects.get(subject);
  if (!call) throw new Failure("unsupported", `unsupported request ${subject.slice(0, 100)}`);
  await using cleanup = new AsyncDisposableStack();
  return await asked.builder.call(call, await prepare(asked, cleanup));
}

async function send(asked: Solve, type: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  if (type !== "local") return await sendFile(asked.session, bytes);
  await using taken = await asked.builder.takeContext(bytes, asked.signal);
  await sendFolder(asked.session, taken.path);
}

async function prepare(asked: Solve, cleanup: AsyncDisposableStack): Promise<BuildRequest> {
  const { attributes, builder, signal } = asked;
  const bring = async (wish: Wish) => {
    const taken = await builder.takeContext(readFolder(asked.session, wish, signal), signal);
    return cleanup.use(taken).path;
  };
  const request = readAttributes(attributes, asked);
  const source = await bringSource(asked, { request, bring, cleanup });
  const contexts = await readContexts(attributes, (folder) => bring({ folder }));
  const { dockerfile } = source;
  const text = "text" in dockerfile ? dockerfile.text : "";
  const parts = await bringParts(asked.session, text, request.buildArgs);
  return { ...request, ...source, ...parts, contexts, signal };
}

interface Bring {
  readonly request: Pick<BuildRequest, "buildArgs">;
  readonly bring: (wish: Wish) => Promise<string>;
  readonly cleanup: AsyncDisposableStack;
}
type Source = Pick<BuildRequest, "contextPath" | "dockerfile"> &
  Partial<Pick<BuildRequest, "commitSeconds">>;

/** The Dockerfile and its context: the client's folders, or what an address names. */
async function bringSource(asked: Solve, { request, bring, cleanup }: Bring): Promise<Source> {
  const { attributes, progress } = asked;
  const path = posix.normalize(attributes.get("filename") || "Dockerfile");
  if (asked.contextPath !== undefined) {
    return { contextPath: asked.contextPath, dockerfile: { path } };
  }
  const remote = attributes.get("context") ?? "";
  if (remote !== "" && !remote.startsWith("local:")) {
    return await fetchSource(asked, { remote, path, request, cleanup });
  }
  const folder = attributes.get("contextkey") ?? "context";
  const [text, ignore] = await progress.track(`[internal] load build definition from ${path}`, () =>
    bringDockerfile(asked, { path, folder, definition: attributes.get("dockerfilekey") }),
  );
  const contextPath = await progress.track("[internal] load build context", () =>
    bring({ folder, exclude: ignoreLines(ignore) }),
  );
  return { contextPath, dockerfile: { text, path, ignore } };
}

async function bringDockerfile(
  { session, signal }: Solve,
  {
    path,
    folder,
    definition = "dockerfile",
  }: { path: string; folder: string; definition?: string | undefined },
): Promise<[text: string, ignore: string]> {
  const own = `${path}.dockerignore`;
  // As in Docker: the name may be written in lower case.
  const include = [path, own, path.toLowerCase()];
  const texts = await readTexts(session, { folder: definition, include, sizeBytesMax }, signal);
  const text = texts.get(path) ?? texts.get(path.toLowerCase());
  if (text === undefined) throw noDockerfile(path);
  const ignore = texts.get(own);
  if (ignore !== undefined) return [text, ignore];
  const wish = { folder, include: [".dockerignore"], sizeBytesMax };
  return [text, (await readTexts(session, wish, signal)).get(".dockerignore") ?? ""];
}

function noDockerfile(path: string): Failure {
  const reason = "no such file or directory";
  return new Failure("not_found", `failed to read dockerfile: open ${path}: ${reason}`);
}

/** The patterns of a `.dockerignore`, cleaned as the client's matcher wants them. */
function ignoreLines(text: string): string[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  return lines.flatMap((line) => {
    const pattern = line.startsWith("#") ? "" : line.trim();
    if (pattern === "") return [];
    const isException = pattern.startsWith("!");
    const path = posix.normalize(isException ? pattern.slice(1).trim() : pattern);
    const clean = path.replace(/^\/+/, "").replace(/(.)\/$/, "$1");
    return [isException ? `!${clean}` : clean];
  });
}

async function fetchSource(
  { builder, attributes, signal }: Solve,
  {
    remote,
    path,
    request,
    cleanup,
  }: { remote: string; path: string } & Pick<Bring, "request" | "cleanup">,
): Promise<Source> {
  const taken = cleanup.use(await builder.fetchContext(remote, { ...request, signal }));
  const folder = posix.join(
    taken.path,
    posix.normalize(`/${attributes.get("contextsubdir") ?? ""}`),
  );
  const { commitSeconds } = taken;
  const times = commitSeconds === undefined ? {} : { commitSeconds };
  return { contextPath: folder, dockerfile: taken.dockerfile ?? { path }, ...times };
}

/** Secrets, agents and logins, as far as the Dockerfile names them. */
async function bringParts(session: Session, text: string, args: BuildRequest["buildArgs"]) {
  const values = Object.values(args).filter((value): value is string => value !== null);
  const needs = needsOf(text, values);
  const secrets = new Map<string, Uint8Array>();
  for (const id of needs.secrets) {
    const secret = await secretOf(session, id);
    if (secret) secrets.set(id, secret);
  }
  const agents = new Map<string, Agent>();
  for (const id of needs.agents) {
    const agent = agentOf(session, id);
    if (agent) agents.set(id, agent);
  }
  const registries: Record<string, RegistryLogin> = {};
  for (const domain of needs.registries) {
    const login = await loginOf(session, domain === hub.domain ? hub.asked : domain);
    if (login) registries[domain] = login;
  }
  return { secrets, agents, registries };
}
