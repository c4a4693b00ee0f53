import { createReadStream } from "node:fs";
import {
  decompress,
  sniffCompression,
  type TarBounds,
  type TarEvent,
  TarParser,
} from "../archive/mod.ts";
import { closeFile, filterThrough, open, openPath, readInto, readNext } from "../sys/mod.ts";
import { type Change, listChanges } from "./changes.ts";
import { measureTree } from "./measure.ts";
import { type PackRules, packTree } from "./pack.ts";
import { CopySink, TarSink } from "./sinks.ts";
import { StreamHash } from "./stream-hash.ts";
import { findStubs, removeStubs } from "./stubs.ts";
import { type Unpacked, Unpacker, type UnpackRules } from "./unpack.ts";

/** What a worker does for the main thread: plain data in, plain data out. */
export type Job =
  | {
      readonly kind: "unpack";
      /** The archive's file; absent, it comes as chunks. */
      readonly path?: string;
      readonly root: string;
      readonly rules: UnpackRules;
      readonly bounds: TarBounds;
      /** Hash the plain tar. */
      readonly hash: boolean;
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
      return await unpack(job, desk);
    case "pack":
      return pack(job, desk);
    case "commit":
      return commit(job, desk);
    case "changes": {
      const stubs = findStubs(job.upper, job.lower, job.stubs);
      return listChanges(job.upper, job.lower, stubs);
    }
    case "measure":
      return measureTree(job.upper);
  }
}

const readBytes = 1 << 20;
/** Buffers that were unpacked are let go after so many bytes: the runtime by itself waits far longer. */
const collectBytes = 4 << 20;

async function unpack(job: Job & { kind: "unpack" }, desk: Desk): Promise<Results["unpack"]> {
  const isPlain = job.path !== undefined && sniffFile(job.path) === "plain";
  // A compressed file comes from another thread already: a third would cost memory, and win nothing.
  using hash = new StreamHash({ isBeside: isPlain || job.path === undefined });
  const parser = new TarParser(job.bounds);
  using unpacker = new Unpacker(job.root, job.rules);
  let sinceCollected = 0;
  const take = (chunk: Uint8Array) => {
    desk.abort();
    sinceCollected += chunk.length;
    if (sinceCollected > collectBytes) {
      sinceCollected = 0;
      Bun.gc(true);
    }
    if (job.hash) hash.update(chunk);
    for (const event of parser.push(chunk)) unpacker.take(event satisfies TarEvent);
  };
  if (isPlain && job.path !== undefined) readPlain(job.path, take);
  else {
    const packed = job.path === undefined ? desk.chunks() : streamOf(job.path);
    for await (const chunk of decompress(packed, { through: filterThrough })) take(chunk);
  }
  parser.finish();
  return { ...unpacker.finish(), digest: hash.digest() };
}

const streamOf = (path: string): AsyncIterable<Uint8Array> =>
  createReadStream(path, { highWaterMark: 256 << 10 });

function sniffFile(path: string): string {
  const file = openPath(path, open.readOnly);
  try {
    const first = Buffer.alloc(6);
    return sniffCompression(first.subarray(0, readInto(file, first, 0)));
  } finally {
    closeFile(file);
  }
}

function readPlain(path: string, take: (chunk: Uint8Array) => void): void {
  const file = openPath(path, open.readOnly);
  try {
    const buffer = Buffer.allocUnsafe(readBytes);
    for (let got = readNext(file, buffer); got > 0; got = readNext(file, buffer)) {
      take(buffer.subarray(0, got));
    }
  } finally {
    closeFile(file);
  }
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
