/**
 * What a command writes. It uses Bun's own sinks because the first use of process.stdout costs a short
 * command more time than its request.
 */
import type { FileSink } from "bun";

const sinks: (FileSink | undefined)[] = [];
let pending: Promise<unknown> | undefined;

function sinkOf(stream: 1 | 2): FileSink {
  return (sinks[stream] ??= (stream === 1 ? Bun.stdout : Bun.stderr).writer());
}

/** Writes at once; resolves, when it returns a promise, as soon as the reader took it. */
export function write(bytes: string | Uint8Array, stream: 1 | 2 = 1): Promise<void> | undefined {
  const sink = sinkOf(stream);
  try {
    // Each of the two may be a promise, and each may fail when the reader goes away.
    const waits = [sink.write(bytes), sink.flush()].filter((taken) => typeof taken !== "number");
    if (waits.length === 0) return undefined;
    const done = Promise.all(waits).then(() => {}, leaveOnBrokenPipe);
    for (const wait of waits) Promise.resolve(wait).catch(() => {}); // `done` tells of it
    pending = pending ? Promise.all([pending, done]) : done;
    return done;
  } catch (error) {
    leaveOnBrokenPipe(error);
    return undefined;
  }
}

/** Writes a line to stdout. */
export function print(line: string): void {
  write(`${line}\n`);
}

/** Writes a line to stderr. */
export function complain(line: string): void {
  write(`${line}\n`, 2);
}

/** Resolves when all that was written has been taken. */
export async function flushOutput(): Promise<void> {
  await pending;
}

/** A reader that went away (`lading ps | head -1`) ends the command as SIGPIPE would, silently. */
function leaveOnBrokenPipe(error: unknown): void {
  if ((error as { code?: string }).code === "EPIPE") process.exit(141);
  throw error;
}
