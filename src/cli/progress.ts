/** The messages of pull, push, load, import and build: bars on a terminal, lines elsewhere. */
import type { ProgressMessage } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { humanSize } from "./human.ts";
import { flushOutput, write } from "./output.ts";

export interface ProgressOptions {
  /** Says nothing; errors are still thrown. */
  readonly quiet?: boolean;
  readonly stream?: 1 | 2;
  /** Default: whether the stream is a terminal. */
  readonly isTerminal?: boolean;
  /** Told of each message with `aux`. */
  readonly onAux?: (aux: NonNullable<ProgressMessage["aux"]>) => void;
}

/** Shows the messages to their end. @throws Failure "internal" with the error in the stream */
export async function showProgress(
  messages: AsyncIterable<ProgressMessage>,
  { quiet = false, stream = 1, isTerminal, onAux }: ProgressOptions = {},
): Promise<void> {
  const { isatty } = require("node:tty") as typeof import("node:tty");
  const isLive = isTerminal ?? isatty(stream);
  const rows = new Map<string, number>();
  for await (const message of messages) {
    if (message.aux) onAux?.(message.aux);
    const error = message.errorDetail?.message ?? message.error;
    if (error !== undefined) {
      await flushOutput();
      throw new Failure("internal", error, { cause: message.errorDetail });
    }
    if (quiet) continue;
    const text = isLive ? liveText(message, rows) : plainText(message);
    if (text !== "") await write(text, stream);
  }
}

function isMoving({ progressDetail }: ProgressMessage): boolean {
  return progressDetail?.current !== undefined || progressDetail?.total !== undefined;
}

/** Without a terminal, lines that only move a bar would be noise. */
export function plainText(message: ProgressMessage): string {
  if (message.stream !== undefined) return message.stream;
  if (message.status === undefined || isMoving(message)) return "";
  return `${message.id ? `${message.id}: ` : ""}${message.status}\n`;
}

/** One row for each ID, rewritten in place. `rows` remembers where each is. */
export function liveText(message: ProgressMessage, rows: Map<string, number>): string {
  if (message.stream !== undefined) return message.stream;
  if (message.status === undefined) return "";
  if (!message.id) {
    // What follows starts below all bars.
    rows.clear();
    return `${message.status}\n`;
  }
  const line = `${message.id}: ${message.status} ${barText(message)}`.trimEnd();
  const row = rows.get(message.id);
  if (row === undefined) {
    rows.set(message.id, rows.size);
    return `${line}\n`;
  }
  const up = rows.size - row;
  return `\x1b[${up}A\r\x1b[2K${line}\n${up > 1 ? `\x1b[${up - 1}B` : ""}`;
}

const barWidth = 50;

function barText({ progressDetail }: ProgressMessage): string {
  const { current = 0, total = 0 } = progressDetail ?? {};
  if (current <= 0 && total <= 0) return "";
  if (total <= 0 || current > total) return humanSize(current, 4);
  const filled = Math.floor((current / total) * barWidth);
  const bar = `${"=".repeat(filled)}>`.slice(0, barWidth).padEnd(barWidth);
  return `[${bar}]  ${humanSize(current, 4)}/${humanSize(total, 4)}`;
}
