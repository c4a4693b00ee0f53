import type { TarBounds } from "../archive/mod.ts";
import type { PackRules } from "./pack.ts";
import type { Unpacked, UnpackRules } from "./unpack.ts";
import { runInWorker } from "./workers.ts";

/**
 * Unpacks a tar (plain or compressed: gzip, zstd, bzip2, xz) below a directory, off the event loop.
 * Nothing outside the directory is touched, whatever the archive says and whoever changes the tree
 * meanwhile. What was unpacked before a failure stays. An archive that stops after an entry is whole
 * unless `end` is "required": who sends one by HTTP has its length checked already.
 * @param source a file's path, or the bytes
 * @throws Failure "invalid" (a hostile entry) | "corrupt" | "exhausted" (a bound, the disk)
 */
export async function unpackTar(
  source: string | AsyncIterable<Uint8Array>,
  rootDirectory: string,
  options: UnpackRules & TarBounds & { readonly signal?: AbortSignal } = {},
): Promise<Unpacked> {
  const { signal, entriesMax, pathBytesMax, headerBytesMax, sizeBytesMax, end, ...rules } = options;
  const given = Object.entries({ entriesMax, pathBytesMax, headerBytesMax, sizeBytesMax });
  const bounds: TarBounds = {
    ...Object.fromEntries(given.filter(([, value]) => value !== undefined)),
    end: end ?? "optional",
  };
  const job = { kind: "unpack", root: rootDirectory, rules, bounds, hash: false } as const;
  const isPath = typeof source === "string";
  const { entries, sizeBytes, hasRoot } = await runInWorker(
    isPath ? { ...job, path: source } : job,
    {
      signal,
      ...(isPath ? {} : { source }),
    },
  );
  return { entries, sizeBytes, hasRoot };
}

/**
 * The tar of what is below a directory, in canonical order, made off the event loop as it is read.
 * Symbolic links in `path` end inside the directory. Stop reading to stop the work.
 * @throws Failure "not_found" — `path` is absent
 */
export async function* packTar(
  rootDirectory: string,
  options: PackRules & { readonly signal?: AbortSignal } = {},
): AsyncGenerator<Uint8Array, void> {
  const { signal, ...rules } = options;
  const stop = new AbortController();
  const ready: { bytes: Uint8Array; taken: () => void }[] = [];
  let wake = () => {};
  let isDone = false;
  const work = runInWorker(
    { kind: "pack", root: rootDirectory, rules },
    {
      signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
      onChunk: (bytes, taken) => {
        ready.push({ bytes, taken });
        wake();
      },
    },
  );
  const ended = work
    .then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
    .finally(() => {
      isDone = true;
      wake();
    });
  try {
    for (;;) {
      const next = ready.shift();
      if (next) {
        yield next.bytes;
        next.taken();
      } else if (isDone) break;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    const failed = await ended;
    if (failed) throw failed.error;
  } finally {
    stop.abort();
  }
}
