/**
 * Lading's `build()` for Node: the library needs Bun, so it runs in a child process that ends with the
 * build. The same options, events and results as in library.ts.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** An error of Lading's: a code for programs, a message for people, a hint for what to do. */
export class Failure extends Error {
  name = "Failure";
  constructor(code, message, hint) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

const places = [
  "../node_modules/@oven/bun-linux-x64/bin/bun",
  "../node_modules/@oven/bun-linux-aarch64/bin/bun",
  "../node_modules/@oven/bun-linux-x64-baseline/bin/bun",
  "../node_modules/bun/bin/bun.exe",
  "../../bun/bin/bun.exe",
];

function bunPath() {
  const found = places
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find(existsSync);
  if (found) return found;
  throw new Failure(
    "unavailable",
    "Cannot build: Bun is not installed",
    "Install the package again",
  );
}

/** As in bin/lading: no file of the folder that we are called in says what runs. */
const bunFlags = [
  "--no-install",
  "--no-env-file",
  "--config=/dev/null",
  "--tsconfig-override=/dev/null",
];

/** A promise of the result that is also an async iterable of the build's events. */
export function build({ signal, ...options }) {
  const events = [];
  let wake = () => {};
  let isOver = false;
  const result = (async () => {
    const main = fileURLToPath(new URL("library-child.ts", import.meta.url));
    const child = spawn(bunPath(), [...bunFlags, main], { stdio: ["pipe", "pipe", "inherit"] });
    const failed = new Promise((_, reject) => child.once("error", reject));
    failed.catch(() => {});
    child.stdin.on("error", () => {}); // it may have ended before it reads
    child.stdin.write(`${JSON.stringify(options)}\n`);
    const stop = () => child.stdin.end();
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    let outcome;
    const read = (async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        const message = JSON.parse(line);
        if (!message.event) outcome = message;
        else {
          const { event } = message;
          if (event.kind === "output") event.bytes = Buffer.from(event.bytes, "base64");
          events.push(event);
          wake();
        }
      }
    })();
    try {
      await Promise.race([read, failed]);
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
    if (outcome?.result) return outcome.result;
    const {
      code = "internal",
      message = "Cannot build: the builder ended",
      hint,
    } = outcome?.failure ?? {};
    throw new Failure(code, message, hint);
  })();
  const over = () => {
    isOver = true;
    wake();
  };
  result.then(over, over);
  async function* walk() {
    for (;;) {
      const event = events.shift();
      if (event) yield event;
      else if (isOver) break;
      else {
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    }
    await result;
  }
  return Object.assign(result, { [Symbol.asyncIterator]: walk });
}
