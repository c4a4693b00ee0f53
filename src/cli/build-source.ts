/** What `build` is given: a folder, an archive or a Dockerfile on stdin, or the address of one. */
import { existsSync, lstatSync, readFileSync, realpathSync } from "node:fs";
import type { Bytes } from "../api/client.ts";
import type { BuildQuery } from "../api/schema.ts";
import { sniffCompression, wantedBy, writeTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { type ContextOptions, packContext } from "./build-context.ts";
import { readText } from "./key-values.ts";
import { resolve } from "./paths.ts";

/** Files of a context, as tar, and about how large they are; or its listing. */
export interface Pieces {
  readonly body: Bytes;
  readonly sizeBytes: number;
}

export interface BuildSource {
  readonly context: Bytes | undefined;
  readonly query: Pick<BuildQuery, "dockerfile" | "remote" | "committime" | "listed">;
  /** A Dockerfile to be sent ahead, as the one file of a tar: the context comes from elsewhere. */
  readonly ahead?: Bytes;
  /** What the engine asks for, when the context was only listed. */
  readonly pieces?: GivePieces;
}

/** What is at these paths, or the listing. */
export type GivePieces = (wanted: readonly string[] | "listing") => Pieces;

const dockerfileBytesMax = 16 << 20;

/** `needs`: the files, or those that are asked for, or the Dockerfile alone. @throws "not_found" | "invalid" */
export async function openContext(
  place: string,
  file: string,
  needs: Needs = "all",
): Promise<BuildSource> {
  if (place === "-" && file === "-") {
    throw new Failure(
      "invalid",
      "invalid argument: can't use stdin for both build context and dockerfile",
    );
  }
  if (place === "-") return fromStdin(file);
  if (isAddress(place) && file === "-") {
    return { context: undefined, query: { remote: place }, ahead: loneFile(await stdinText()) };
  }
  if (isAddress(place) && file.startsWith("/")) {
    // As with buildx: a whole path is one of this machine.
    const text = Buffer.from(await readText(file));
    return { context: undefined, query: { remote: place }, ahead: loneFile(text) };
  }
  if (isAddress(place)) {
    return { context: undefined, query: { remote: place, ...(file ? { dockerfile: file } : {}) } };
  }
  const source = await fromFolder(place, file, needs);
  if (needs === "lone") return source;
  const { commitTime } = require("./git-time.ts") as typeof import("./git-time.ts");
  const committime = await commitTime(place);
  return committime === undefined ? source : { ...source, query: { ...source.query, committime } };
}

function isAddress(place: string): boolean {
  return /^(https?|git|ssh|file):\/\//.test(place) || /^(git@|github\.com\/)/.test(place);
}

/** What a build is to be given of its context. */
export type Needs = "all" | "listed" | "lone";

async function fromFolder(place: string, file: string, needs: Needs): Promise<BuildSource> {
  const folder = realFolder(place);
  if (file === "-") {
    const text = await stdinText();
    return withForeignFile(folder, { text, ignore: undefined, needs });
  }
  const path = file === "" ? `${folder}/Dockerfile` : resolve(file);
  if (path.startsWith(`${folder}/`)) {
    const dockerfile = path.slice(folder.length + 1);
    requireDockerfile(path);
    const listed = needs === "listed" ? listedContext(folder, { dockerfile }) : undefined;
    if (listed) return listed;
    const isLone = needs === "lone";
    return { context: packContext(folder, { dockerfile, isLone }), query: { dockerfile } };
  }
  const text = Buffer.from(await readText(path));
  return withForeignFile(folder, { text, ignore: ignoreBeside(path), needs });
}

/** The Dockerfile, if it is in there, and what names a list of the rest; undefined for a small context. */
function listedContext(
  folder: string,
  rules: Pick<ContextOptions, "dockerfile" | "ignore">,
): BuildSource | undefined {
  const { listContext } = require("./context-listing.ts") as typeof import("./context-listing.ts");
  const listing = listContext(folder, rules);
  if (listing === undefined) return undefined;
  const { dockerfile } = rules;
  return {
    context: packContext(folder, { ...rules, isLone: true }),
    query: { ...(dockerfile ? { dockerfile } : {}), listed: listing.digest },
    pieces: (wanted) => {
      if (wanted === "listing") {
        const text = Buffer.from(listing.text());
        return { body: only(text), sizeBytes: text.length };
      }
      const body = packContext(folder, { ...rules, only: wanted });
      return { body, sizeBytes: listing.sizeOf(wantedBy(wanted)) };
    },
  };
}

interface Foreign {
  readonly text: Uint8Array;
  /** Of the ignore file beside it, which goes before the context's. */
  readonly ignore: string | undefined;
  readonly needs: Needs;
}

/** A Dockerfile from elsewhere is sent ahead: in the context it would be one of its files. */
function withForeignFile(folder: string, { text, ignore, needs }: Foreign): BuildSource {
  // One without a pattern leaves nothing out, which is not the same as none.
  const own = ignore === undefined ? {} : { ignore: ignore || "\n" };
  const rules = { dockerfile: "", ...own };
  const ahead = loneFile(text, own.ignore);
  const listed = needs === "listed" ? listedContext(folder, rules) : undefined;
  if (listed) return { ...listed, ahead };
  const isLone = needs === "lone";
  return { context: packContext(folder, { ...rules, isLone }), query: {}, ahead };
}

async function* only(bytes: Uint8Array): Bytes {
  yield bytes;
}

function ignoreBeside(path: string): string | undefined {
  const place = `${path}.dockerignore`;
  return existsSync(place) ? readFileSync(place, "utf8") : undefined;
}

function realFolder(place: string): string {
  try {
    const folder = realpathSync(place);
    if (lstatSync(folder).isDirectory()) return folder;
  } catch (cause) {
    throw new Failure("not_found", `unable to prepare context: path "${place}" not found`, {
      cause,
    });
  }
  throw new Failure("invalid", `unable to prepare context: context must be a directory: ${place}`);
}

function requireDockerfile(path: string): void {
  try {
    lstatSync(path);
  } catch (cause) {
    throw new Failure(
      "not_found",
      `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${path}: no such file or directory`,
      { cause },
    );
  }
}

async function fromStdin(file: string): Promise<BuildSource> {
  const source = Bun.stdin.stream()[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const head = await readHead(source);
  if (head.length === 0) throw new Failure("invalid", "unable to prepare context: stdin is empty");
  const rest = joined(head, source);
  if (isArchive(head)) {
    return { context: rest, query: file ? { dockerfile: file } : {} };
  }
  const body = await whole(rest);
  return { context: loneFile(body), query: { dockerfile: "Dockerfile" } };
}

function loneFile(body: Uint8Array, ignore?: string): Bytes {
  const beside = "Dockerfile.dockerignore";
  return writeTar([
    { header: { path: "Dockerfile" }, body },
    ...(ignore === undefined ? [] : [{ header: { path: beside }, body: Buffer.from(ignore) }]),
  ]);
}

const blockBytes = 512;

/** At least one block of a tar, unless the input is shorter. */
async function readHead(source: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < blockBytes) {
    const next = await source.next();
    if (next.done) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  return head;
}

function isArchive(head: Uint8Array): boolean {
  if (sniffCompression(head) !== "plain") return true;
  if (head.length < blockBytes) return false;
  const magic = Buffer.from(head.subarray(257, 262)).toString("latin1");
  return magic === "ustar" || hasChecksum(head);
}

/** Archives older than ustar have nothing but the sum of their first block. */
function hasChecksum(head: Uint8Array): boolean {
  const field = Buffer.from(head.subarray(148, 156))
    .toString("latin1")
    .replace(/[\0 ]+/g, "");
  if (!/^[0-7]+$/.test(field)) return false;
  let sum = 0;
  for (let at = 0; at < blockBytes; at++) sum += at >= 148 && at < 156 ? 32 : head[at]!;
  return sum === Number.parseInt(field, 8);
}

async function* joined(
  head: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield head;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function stdinText(): Promise<Uint8Array> {
  return whole(Bun.stdin.stream());
}

async function whole(bytes: Bytes): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bytes) {
    size += part.length;
    if (size > dockerfileBytesMax) {
      throw new Failure("exhausted", "unable to prepare context: the Dockerfile is too large");
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
