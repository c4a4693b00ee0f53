import { Failure } from "../base/mod.ts";

/** What a finished program left behind. `exitCode` is 128 + n after signal n. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: string;
}

interface Bounds {
  readonly input?: string | Uint8Array;
  readonly timeoutMs: number;
  readonly outputBytesMax?: number;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Ends the program and all that it started. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a program to its end; a non-zero exit is an answer, not an error. No shell; stdin carries `input`.
 *
 * @throws Failure "unavailable" — the program is not installed
 * @throws Failure "timeout" — `timeoutMs` passed; the program was killed
 * @throws Failure "unavailable" — `signal` aborted; the program was killed
 * @throws Failure "exhausted" — it printed more than `outputBytesMax`
 */
export async function runAny(
  argv: readonly [string, ...string[]],
  { input, timeoutMs, outputBytesMax = 8 << 20, env, cwd, signal }: Bounds,
): Promise<Outcome> {
  const path = Bun.which(argv[0], { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
  if (!path) {
    throw new Failure("unavailable", `Cannot run "${argv[0]}": not installed`, {
      hint: `Install ${argv[0]}, or set PATH`,
    });
  }
  const child = Bun.spawn([path, ...argv.slice(1)], {
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
    ...(env ? { env } : {}),
    ...(cwd ? { cwd } : {}),
    // What can be cancelled has a process group of its own, so that all that it started ends with it.
    detached: signal !== undefined,
  });
  const kill = () => (signal ? endGroup(child.pid) : child.kill("SIGKILL"));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, timeoutMs);
  signal?.addEventListener("abort", kill);
  if (signal?.aborted) kill();
  try {
    const bounded = (stream: ReadableStream<Uint8Array>) =>
      collect(stream, outputBytesMax, argv[0]);
    const outputs = Promise.all([bounded(child.stdout), bounded(child.stderr)]);
    const exitCode = await child.exited;
    // A grandchild may hold the pipe: give it a moment, then take what came.
    const [stdout, stderr] = await Promise.race([
      outputs,
      Bun.sleep(1_000).then(() => [none, none]),
    ]);
    if (signal?.aborted) {
      throw new Failure("unavailable", `Cannot finish "${argv[0]}": it was cancelled`);
    }
    if (late) {
      throw new Failure("timeout", `Cannot finish "${argv[0]}" within ${timeoutMs} ms`);
    }
    return { exitCode, stdout: stdout!, stderr: new TextDecoder().decode(stderr) };
  } catch (error) {
    kill();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", kill);
  }
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // it has ended
  }
}

const none = new Uint8Array();

/** Runs a program and returns its stdout as text. @throws as `runAny`; "internal" on a non-zero exit */
export async function run(argv: readonly [string, ...string[]], bounds: Bounds): Promise<string> {
  const { exitCode, stdout, stderr } = await runAny(argv, bounds);
  if (exitCode === 0) return new TextDecoder().decode(stdout);
  const reason = stderr.trim().split("\n").at(-1);
  const subject = `${argv[0]} ${argv[1] ?? ""}`.trim();
  throw new Failure("internal", `Cannot run "${subject}": exit ${exitCode}: ${reason}`);
}

async function collect(stream: ReadableStream<Uint8Array>, bytesMax: number, name: string) {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    size += part.length;
    if (size > bytesMax) {
      throw new Failure("exhausted", `Cannot keep what "${name}" prints: over ${bytesMax} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
