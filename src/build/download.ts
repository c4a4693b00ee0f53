import { createWriteStream } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { posix } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Failure } from "../base/mod.ts";
import { follow } from "./follow.ts";
import { nearest } from "./source.ts";

/** A file fetched by ADD. */
export interface Download {
  readonly path: string;
  /** The last part of the address's path. */
  readonly name: string;
  /** From Last-Modified, else 0: the time of the download would make every build different. */
  readonly mtimeMs: number;
  readonly sha256: string;
}

export interface DownloadBounds {
  readonly directory: string;
  readonly sizeBytesMax: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** True for a source word of ADD that is fetched. */
export function isUrl(word: string): boolean {
  return /^https?:\/\//i.test(word);
}

/** `sha256:<64 hex>` of --checksum. @throws Failure "invalid" */
export function readChecksum(text: string): string {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(text) ?? [];
  if (hex) return hex;
  const [algorithm = ""] = text.split(":");
  const near = nearest(algorithm, ["sha256"]);
  throw new Failure("invalid", `unsupported checksum "${text}"`, {
    hint: near ? "It is sha256: and 64 hexadecimal digits" : "Only sha256 is supported",
  });
}

/** The name that a download has in a folder. @throws Failure "invalid" when the address ends with "/" */
export function nameOf(url: string): string {
  const name = posix.basename(decodeURIComponent(new URL(url).pathname));
  if (name !== "" && name !== "/" && name !== "." && name !== ".." && !name.includes("/"))
    return name;
  throw new Failure("invalid", `cannot determine filename from url: ${url}`, {
    hint: "Name the target file instead of a folder",
  });
}

const redirectsMax = 10;

/**
 * Fetches a file. Its SHA-256 is taken on the way.
 * @throws Failure "unavailable" | "not_found" | "exhausted" | "timeout"
 */
export async function download(
  url: string,
  bounds: DownloadBounds,
): Promise<Omit<Download, "name">> {
  const { sizeBytesMax, timeoutMs } = bounds;
  const signal = AbortSignal.any([bounds.signal, AbortSignal.timeout(timeoutMs)]);
  const hasher = new Bun.CryptoHasher("sha256");
  try {
    const { response } = await follow(new URL(url), { signal, redirectsMax });
    if (!response.ok || !response.body) {
      const code = response.status === 404 ? "not_found" : "unavailable";
      throw new Failure(code, `Cannot fetch ${url}: status ${response.status}`);
    }
    const path = `${await mkdtemp(`${bounds.directory}/download-`)}/file`;
    let size = 0;
    async function* counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
      for await (const chunk of source) {
        size += chunk.length;
        if (size > sizeBytesMax) {
          throw new Failure("exhausted", `Cannot fetch ${url}: more than ${sizeBytesMax} bytes`);
        }
        hasher.update(chunk);
        yield chunk;
      }
    }
    await pipeline(Readable.fromWeb(response.body), counted, createWriteStream(path));
    const modified = Date.parse(response.headers.get("last-modified") ?? "");
    const mtimeMs = Number.isNaN(modified) ? 0 : modified;
    return { path, mtimeMs, sha256: hasher.digest("hex") };
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    if (bounds.signal.aborted) throw cause;
    const code = signal.aborted ? "timeout" : "unavailable";
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure(code, `Cannot fetch ${url}: ${why}`, { cause });
  }
}
