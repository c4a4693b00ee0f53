/**
 * The terminal that a command runs in: raw mode, which is undone on every way out, and its size.
 * Loaded by commands that use a terminal: node:tty costs more time than a short command has.
 */
import { isatty } from "node:tty";
import { Failure } from "../base/mod.ts";
import { complain } from "./output.ts";

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

export { isatty };

/** @throws Failure "invalid" — a container with a terminal cannot read from a pipe */
export function requireTerminal(): void {
  if (!isatty(0)) throw new Failure("invalid", "the input device is not a TTY");
}

/** The window's size; undefined when stdout is no terminal. */
export function terminalSize(): Size | undefined {
  if (!isatty(1)) return undefined;
  const [columns, rows] = process.stdout.getWindowSize();
  return rows > 0 && columns > 0 ? { rows, columns } : undefined;
}

let isRaw = false;

/** Bytes go to the container as typed. Undone by `restoreTerminal`, at the latest when this process ends. */
export function makeRaw(): void {
  if (isRaw || !isatty(0)) return;
  process.stdin.setRawMode(true);
  isRaw = true;
  // Raw mode as Bun has it still turns "\n" into "\r\n", which full-screen programs do not expect.
  // The restore below brings that back too.
  Bun.spawnSync(["stty", "-opost"], { stdin: "inherit", stdout: "ignore", stderr: "ignore" });
  process.on("exit", restoreTerminal);
  for (const [signal, number] of endings) process.on(signal, () => process.exit(128 + number));
}

const endings = [
  ["SIGHUP", 1],
  ["SIGINT", 2],
  ["SIGQUIT", 3],
  ["SIGTERM", 15],
] as const;

export function restoreTerminal(): void {
  if (!isRaw) return;
  isRaw = false;
  process.stdin.setRawMode(false);
  process.stdin.pause();
}

/** What is typed, until the terminal hangs up. */
export async function* typedBytes(): AsyncGenerator<Uint8Array> {
  for await (const bytes of process.stdin) yield bytes as Uint8Array;
}

const attemptsMax = 10;

/**
 * Tells the size now, again while the engine does not take it (the process may not have started), and
 * after each change of the window. With `redraws` it tells another size first, so that a program that
 * runs already draws its screen anew.
 */
export function followSize(
  resize: (size: Size) => Promise<void>,
  { redraws = false }: { redraws?: boolean } = {},
): void {
  const tell = async (): Promise<void> => {
    const size = terminalSize();
    if (size) await resize(size);
  };
  const nudge = async (): Promise<void> => {
    const size = terminalSize();
    if (size) await resize({ rows: size.rows + 1, columns: size.columns + 1 });
  };
  const insist = async (): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      try {
        if (redraws) await nudge();
        return await tell();
      } catch (error) {
        if (attempt === attemptsMax) {
          complain(`failed to resize tty, using default size: ${(error as Error).message}`);
          return;
        }
        await Bun.sleep(attempt * 10);
      }
    }
  };
  void insist();
  process.on("SIGWINCH", () => {
    tell().catch(() => {}); // the process may just have ended
  });
}
