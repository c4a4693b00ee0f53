/** One build for a client of BuildKit's protocol. */
import { Failure } from "../base/mod.ts";
import {
  type BuildCall,
  type Builder,
  type BuildRequest,
  dockerfileText,
  knownAttributes,
  type NamedContext,
  type Output,
  type Produced,
  parseOutput,
  type SourceRule,
} from "../build/mod.ts";
import { parseDigest } from "../oci/mod.ts";
import { cachesFrom, cachesTo, type Place } from "./caches.ts";
import { bringSource } from "./fetch.ts";
import { readFolder, type Wish } from "./filesync.ts";
import { bringParts } from "./parts.ts";
import type { Progress } from "./progress.ts";
import { readAttributes, readContexts } from "./request.ts";
import { sendFile, sendFolder } from "./send.ts";
import { takeFolder } from "./sent-context.ts";
import type { Session } from "./session.ts";
import { ClientStore } from "./store.ts";

/** By the names of BuildKit's sub-requests. */
const subjects: ReadonlyMap<string, BuildCall> = new Map([
  ["frontend.lint", "check"],
  ["frontend.outline", "outline"],
  ["frontend.targets", "targets"],
]);

const outputsMax = 32;

export interface Solve {
  readonly builder: Builder;
  readonly session: Session;
  readonly progress: Progress;
  readonly attributes: ReadonlyMap<string, string>;
  readonly exporters: readonly Exporter[];
  /** Where the cache of the build goes. */
  readonly caches: readonly Place[];
  readonly sourcePolicy: readonly SourceRule[];
  /** What clients give in place of an address: results of other builds, and addresses. */
  readonly inputs: ReadonlyMap<string, NamedContext>;
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

/** What came of a build, and what its client hears of it beside that. */
export interface Solved extends Produced {
  readonly told: ReadonlyMap<string, string>;
}

/** Fetches what the build needs from its client, and builds. @throws Failure */
export async function solve(asked: Solve): Promise<Solved> {
  const { builder, progress, exporters, caches } = asked;
  if (exporters.length > outputsMax) {
    throw new Failure("exhausted", `Cannot make more than ${outputsMax} results of a build`);
  }
  const outputs = exporters.map(outputOf);
  await using cleanup = new AsyncDisposableStack();
  const images = [
    ...outputs.flatMap((output) => ("names" in output ? output.names : [])),
    ...caches.flatMap(({ attributes }) => attributes.get("ref") ?? []),
  ];
  const prepared = await prepare(asked, { cleanup, images });
  const request = { ...prepared, outputs, cacheTo: cachesTo(caches) };
  progress.platforms = request.platform.split(",");
  const produced = await builder.produce(request, (event) => progress.report(event));
  const told = new Map<string, string>();
  await progress.track("exporting", async (key) => {
    for (const name of outputs.flatMap((each) => ("names" in each ? each.names : []))) {
      progress.status(key, `naming to ${name}`, { isDone: true });
    }
    for (const { output, handle } of produced.exports) {
      await send(asked, output, builder.fetch(handle));
      progress.status(key, "copying files to the client", { isDone: true });
    }
    for (const { cache, handle } of produced.caches) {
      const { attributes } = caches[cache]!;
      const store = new ClientStore(asked, `local:${attributes.get("dest") ?? ""}`);
      const root = await store.writeLayout(builder.fetch(handle));
      told.set("cache.manifest", JSON.stringify(root));
      progress.status(key, "copying the cache to the client", { isDone: true });
    }
  });
  return { ...produced, told };
}

function outputOf({ type: asked, attributes }: Exporter): Output {
  const type = asked === "moby" ? "image" : asked;
  const given = knownAttributes(type, Object.fromEntries(attributes));
  // What is to be loaded does not come here as an archive.
  return parseOutput(type, type === "docker" ? { dest: "-", ...given } : given, []);
}

/** What can be asked about a Dockerfile instead of building it, as plain data. @throws Failure */
export async function answer(asked: Solve, subject: string): Promise<object> {
  const call = subjects.get(subject);
  if (!call) throw new Failure("unsupported", `unsupported request ${subject.slice(0, 100)}`);
  await using cleanup = new AsyncDisposableStack();
  return await asked.builder.call(call, await prepare(asked, { cleanup, images: [] }));
}

/** Brings a result to the client: a folder, a file, or the blobs of a layout. */
async function send(asked: Solve, output: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const { type, attributes } = asked.exporters[output]!;
  if (type === "local") {
    await using taken = await asked.builder.takeContext(bytes, asked.signal);
    await sendFolder(asked.session, taken.path, output);
  } else if (attributes.get("tar") === "false") {
    await new ClientStore(asked, "export").writeLayout(bytes);
  } else await sendFile(asked.session, bytes, output);
}

async function prepare(
  asked: Solve,
  { cleanup, images }: { cleanup: AsyncDisposableStack; images: readonly string[] },
): Promise<BuildRequest> {
  const { attributes, builder, session, signal, sourcePolicy } = asked;
  const take = async (tar: AsyncIterable<Uint8Array>) =>
    cleanup.use(await builder.takeContext(tar, signal)).path;
  const request = readAttributes(attributes, asked);
  const cacheFrom = cachesFrom(attributes, asked);
  const contexts = await readContexts(attributes, asked.inputs, {
    folder: (folder) => take(readFolder(session, { folder }, { signal })),
    layout: (store, digest) =>
      take(new ClientStore(asked, `oci:${store}`).readLayout(parseDigest(digest))),
  });
  // All of it is read where nothing is taken from the cache, or its software is to be listed.
  const isWhole = request.noCache || request.attest?.sbom === true;
  const bring = (wish: Wish) => takeFolder(wish, { builder, session, signal, cleanup, isWhole });
  const source = await bringSource(asked, { request, bring, cleanup });
  const values = Object.values(request.buildArgs).filter((value) => typeof value === "string");
  const parts = await bringParts(session, {
    text: dockerfileText(source),
    images: [...values, ...images, ...cacheFrom.map(({ ref }) => ref)],
  });
  const policy = sourcePolicy.length > 0 ? { sourcePolicy } : {};
  return { ...request, ...source, ...parts, ...policy, cacheFrom, contexts, signal };
}
