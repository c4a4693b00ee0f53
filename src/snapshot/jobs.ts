import { decompress, type TarBounds, type TarEvent, TarParser } from "../archive/mod.ts";
import { asRootOf, filterThrough } from "../sys/mod.ts";
import { type Change, listChanges } from "./changes.ts";
import { type Filled, Filler, type FillRules } from "./fill.ts";
import { Growth } from "./growth.ts";
import { measureTree } from "./measure.ts";
import { type PackRules, packTree } from "./pack.ts";
import { readPacked } from "./packed-file.ts";
import { CopySink, TarSink } from "./sinks.ts";
import { type HashPlace, StreamHash } from "./stream-hash.ts";
import { findStubs, removeStubs } from "./stubs.ts";
import { type Unpacked, Unpacker, type UnpackRules } from "./unpack.ts";

/** What a worker does for the main thread: plain data in, plain data out. */
export type Job =
  | {
      readonly kind: "unpack";
      /** The archive's file; absent, it comes as chunks. */
      readonly path?: string;
      /** A file that still grows: the words of its `Growth`. */
      readonly growing?: BigInt64Array | undefined;
      readonly root: string;
      readonly rules: UnpackRules;
      readonly bounds: TarBounds;
      /** Where the plain tar is hashed, if it is to be. */
      readonly hash: HashPlace | false;
    }
  | { readonly kind: "pack"; readonly root: string; readonly rules: PackRules }
  | {
      readonly kind: "commit";
      readonly upper: string;
      readonly rules: PackRules;
      /** Where the copy goes; absent, the upper directory itself will be the layer. */
      readonly copyTo?: string;
      readonly stubs?: Stubs;
    }
  | {
      readonly kind: "fill";
      readonly upper: string;
      readonly fill: FillRules;
      /** Of the commit that follows. */
      readonly rules: PackRules;
      readonly bounds: TarBounds;
    }
  | {
      readonly kind: "changes";
      readonly upper: string;
      readonly lower: string;
      readonly stubs: readonly string[];
    }
  | { readonly kind: "measure"; readonly upper: string };

interface Stubs {
  readonly lower: string;
  readonly paths: readonly string[];
}

export interface Results {
  unpack: Unpacked & { readonly digest: string };
  pack: { readonly entries: number };
  commit: { readonly digest: string; readonly sizeBytes: number; readonly entries: number };
  fill: Filled;
  changes: readonly Change[];
  measure: number;
}

/** What a job may use of the worker that runs it. */
export interface Desk {
  /** @throws when the main thread no longer wants the result */
  readonly abort: () => void;
  /** The chunks that the main thread sends. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
  /** Hands bytes to the main thread, copied; blocks while it has enough. */
  readonly send: (bytes: Uint8Array) => void;
}

export async function runJob(job: Job, desk: Desk): Promise<Results[keyof Results]> {
  switch (job.kind) {
    case "unpack":
      return await asRootOf(job.rules.owners, () => unpack(job, desk));
    case "pack":
      return pack(job, desk);
    case "commit":
      return commit(job, desk);
    case "fill":
      return await fill(job, desk);
    case "changes": {
      const stubs = findStubs(job.upper, job.lower, job.stubs);
      return listChanges(job.upper, job.lower, stubs);
    }
    case "measure":
      return measureTree(job.upper);
  }
}

async function unpack(job: Job & { kind: "unpack" }, desk: Desk): Promise<Results["unpack"]> {
  const { path, growing } = job;
  using hash = new StreamHash({ isBeside: job.hash === "beside" });
  const parser = new TarParser(job.bounds);
  using unpacker = new Unpacker(job.root, job.rules);
  const take = (chunk: Uint8Array) => {
    desk.abort();
    if (job.hash) hash.update(chunk);
    for (const event of parser.push(chunk)) unpacker.take(event satisfies TarEvent);
  };
  if (path !== undefined) {
    const growth = growing && new Growth(growing);
    await readPacked({ path, growth, abort: desk.abort }, take);
  } else {
    for await (const chunk of decompress(desk.chunks(), { through: filterThrough })) take(chunk);
  }
  parser.finish();
  return { ...unpacker.finish(), digest: hash.digest() };
}

async function fill(job: Job & { kind: "fill" }, desk: Desk): Promise<Filled> {
  const parser = new TarParser(job.bounds);
  using filler = new Filler(job.upper, job.fill, job.rules);
  for await (const chunk of decompress(desk.chunks(), { through: filterThrough })) {
    desk.abort();
    for (const event of parser.push(chunk)) filler.take(event);
  }
  parser.finish();
  return filler.finish();
}

function pack(job: Job & { kind: "pack" }, desk: Desk): Results["pack"] {
  const sink = new TarSink(desk.send, 512 << 10);
  packTree(job.root, sink, job.rules, desk.abort);
  sink.finish();
  return { entries: sink.entries };
}

function commit(job: Job & { kind: "commit" }, desk: Desk): Results["commit"] {
  using hash = new StreamHash();
  const sink = new TarSink((bytes) => hash.update(bytes));
  const stubs = job.stubs
    ? findStubs(job.upper, job.stubs.lower, job.stubs.paths)
    : new Set<string>();
  if (job.copyTo === undefined) {
    if (stubs.size > 0) removeStubs(job.upper, stubs);
    packTree(job.upper, sink, job.rules, desk.abort);
  } else {
    const layerRules = { whiteouts: "overlay", devices: true } as const;
    using copy = new Unpacker(job.copyTo, layerRules);
    const rules = { ...job.rules, nanoseconds: true, exclude: [...stubs] };
    packTree(job.upper, new CopySink(sink, copy), rules, desk.abort);
    copy.finish();
  }
  sink.finish();
  return { digest: hash.digest(), sizeBytes: sink.contentBytes, entries: sink.entries };
}
