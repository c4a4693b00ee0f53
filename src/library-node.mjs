/**
 * Lading's library for Node: it needs Bun, so it runs in a child process, which ends with the build or when
 * it is closed. The same options, events and results as in library.ts; what is asked of images is answered
 * by promises.
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

/** The builder in a child process: what is asked has a number, and so has what it answers. */
class Child {
  #process;
  #waiting = new Map();
  #next = 1;
  #ended;
  opened;

  constructor(options) {
    const main = fileURLToPath(new URL("library-child.ts", import.meta.url));
    const stdio = ["pipe", "pipe", "inherit"];
    this.#process = spawn(bunPath(), [...bunFlags, main], { stdio });
    this.#process.stdin.on("error", () => {}); // it may have ended before it reads
    this.#say({ open: options });
    this.opened = new Promise((resolve, reject) => {
      this.#waiting.set("open", { resolve, reject });
    });
    this.#ended = this.#read();
  }

  #say(message) {
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
  }

  async #read() {
    const gone = new Promise((resolve) => {
      this.#process.once("error", resolve);
      this.#process.once("close", () => resolve(undefined));
    });
    for await (const line of createInterface({ input: this.#process.stdout })) {
      this.#take(JSON.parse(line));
    }
    const error = await gone;
    const message = error ? `Cannot build: ${error.message}` : "Cannot build: the builder ended";
    for (const { reject } of this.#waiting.values()) reject(new Failure("internal", message));
    this.#waiting.clear();
  }

  #take({ id = "open", event, failure, result }) {
    const waiting = this.#waiting.get(id);
    if (event) {
      if (event.kind === "output") event.bytes = Buffer.from(event.bytes, "base64");
      waiting?.onEvent?.(event);
      return;
    }
    this.#waiting.delete(id);
    if (failure) waiting?.reject(new Failure(failure.code, failure.message, failure.hint));
    else waiting?.resolve(result ?? undefined);
  }

  /** @returns {Promise<any>} */
  ask(message, { onEvent, signal } = {}) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onEvent });
    });
    if (this.#process.exitCode !== null) {
      this.#take({ id, failure: { code: "unavailable", message: "Lading is closed" } });
      return answer;
    }
    const stop = () => this.#say({ id, abort: true });
    this.#say({ id, ...message });
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    const over = () => signal?.removeEventListener("abort", stop);
    answer.then(over, over);
    return answer;
  }

  async close() {
    this.#process.stdin.end();
    await this.#ended;
  }
}

/** Bytes cannot stand in JSON. */
function plain({ secrets, ...options }) {
  if (!secrets) return options;
  const given = Object.entries(secrets).map(([id, value]) => [
    id,
    typeof value === "string" ? value : { base64: Buffer.from(value).toString("base64") },
  ]);
  return { ...options, secrets: Object.fromEntries(given) };
}

const imageMethods = ["list", "find", "resolve", "history", "tag", "remove", "load", "import"];

/** Opens the stores in a process of their own, until it is disposed of: see library.ts. */
export async function openLading(options = {}) {
  const child = new Child(options);
  try {
    await child.opened;
  } catch (error) {
    await child.close();
    throw error;
  }
  const images = imageMethods.map((method) => [
    method,
    (...args) => child.ask({ images: [method, ...args] }),
  ]);
  const close = () => child.close();
  return {
    build: ({ signal, ...asked }) =>
      following((onEvent) => child.ask({ build: plain(asked) }, { onEvent, signal })),
    images: Object.fromEntries(images),
    close,
    ...(Symbol.asyncDispose ? { [Symbol.asyncDispose]: close } : {}),
  };
}

/** One build with stores of its own, which are closed after it. */
export function build({ lading: options, ...asked }) {
  return following(async (onEvent) => {
    const lading = await openLading(options);
    try {
      const running = lading.build(asked);
      for await (const event of running) onEvent(event);
      return await running;
    } finally {
      await lading.close();
    }
  });
}

/** A promise of the result that is also an async iterable of the build's events. */
function following(start) {
  const events = [];
  let wake = () => {};
  let isOver = false;
  const result = start((event) => {
    events.push(event);
    wake();
  });
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
