/** Standard input, output and error of a process in a container, joined to those of this command. */
import type { Hijacked } from "../api/client.ts";
import { flushOutput, write } from "./output.ts";

export interface SessionOptions {
  /** Sends stdin, and its end. */
  readonly sendsInput: boolean;
  /** The process has a terminal: keys go to it as they are typed. */
  readonly isTerminal: boolean;
}

/** Carries bytes both ways until the engine ends the stream; the terminal is as before then. */
export async function runSession(
  stream: Hijacked,
  { sendsInput, isTerminal }: SessionOptions,
): Promise<void> {
  const terminal = isTerminal
    ? (require("./terminal.ts") as typeof import("./terminal.ts"))
    : undefined;
  try {
    if (sendsInput) {
      terminal?.makeRaw();
      const isTyped = terminal?.isatty(0) ?? false;
      void sendInput(stream, isTyped ? terminal!.typedBytes() : pipedBytes());
    } else if (!isTerminal) stream.closeWrite();
    for await (const { stream: number, bytes } of stream.output()) {
      await write(bytes, number === 1 ? 1 : 2);
    }
    await flushOutput();
  } finally {
    terminal?.restoreTerminal();
    stream.close();
  }
}

async function* pipedBytes(): AsyncGenerator<Uint8Array> {
  yield* Bun.stdin.stream();
}

async function sendInput(stream: Hijacked, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const part of bytes) await stream.write(part);
    stream.closeWrite();
  } catch {
    // The process ended before it read all: its exit code tells.
  }
}

const passedOn = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGCONT",
] as const;

/** Hands signals to the container instead of obeying them. */
export function passSignals(kill: (signal: string) => Promise<void>): void {
  for (const signal of passedOn) {
    process.on(signal, () => {
      kill(signal).catch(() => {}); // it may have ended just now
    });
  }
}
