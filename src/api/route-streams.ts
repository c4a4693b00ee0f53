/** The endpoints of containers that stream: attach, logs, wait, stats. */
import { Failure, log, toFailure } from "../base/mod.ts";
import { type Attachment, type Container, logDetails } from "../engine/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange, Stream } from "./exchange.ts";
import { frameHeader } from "./frames.ts";
import { logWriter } from "./log-lines.ts";
import { flag, timeNs, whole } from "./query.ts";
import type { Route } from "./router.ts";
import { stats } from "./stats.ts";

const rawStream = "application/vnd.docker.raw-stream";
const multiplexedStream = "application/vnd.docker.multiplexed-stream";

/** What the output is called: clients before 1.42 know only the one name. */
export function streamType(isTty: boolean, minor: number): string {
  return isTty || minor < 42 ? rawStream : multiplexedStream;
}

/** A hijacked connection as the engine wants it. */
export function attachmentOf(stream: Stream, isTty: boolean, hasInput: boolean): Attachment {
  return {
    ...(hasInput ? { input: stream.input } : {}),
    signal: stream.signal,
    output: isTty
      ? ({ bytes }) => stream.write(bytes)
      : ({ stream: number, bytes }) => stream.write(bytes, frameHeader(number, bytes.length)),
  };
}

/** Tells an error to a client that has a stream already: there is no status left to say it with. */
export async function tellFailure(stream: Stream, isTty: boolean, error: unknown): Promise<void> {
  const { message } = toFailure(error);
  log("debug", "A stream ended with an error", { error: message });
  if (stream.signal.aborted) return;
  const bytes = Buffer.from(`${message}\r\n`);
  try {
    await stream.write(bytes, isTty ? undefined : frameHeader(2, bytes.length));
  } catch (gone) {
    log("debug", "The client was gone before it could be told", { error: gone });
  }
}

async function attach(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { query } = exchange;
  const container = engine.resolve(name);
  refuseUnready(container);
  const request = {
    stdin: flag(query, "stdin"),
    stdout: flag(query, "stdout"),
    stderr: flag(query, "stderr"),
    logs: flag(query, "logs"),
    stream: flag(query, "stream"),
    detachKeys: query.get("detachKeys") ?? "",
  };
  checkDetachKeys(request.detachKeys);
  // Some clients send their options as a body too: it is no input.
  if (exchange.headers.has("content-length")) await exchange.bytes();
  const isTty = container.config.Tty;
  const stream = exchange.hijack(streamType(isTty, exchange.minor));
  // Attach before the answer: once the client has it, it starts the container, and no output may pass.
  const joined = engine.attach(container.id, request, attachmentOf(stream, isTty, request.stdin));
  joined.catch(() => {}); // it is awaited below; this keeps an early failure from ending the engine
  await Promise.resolve();
  stream.accept();
  try {
    await joined;
  } catch (error) {
    await tellFailure(stream, isTty, error);
  } finally {
    stream.end();
  }
}

function refuseUnready({ id, state }: Container): void {
  if (state.status === "paused") {
    throw new Failure("conflict", `container ${id} is paused, unpause the container before attach`);
  }
  if (state.status === "restarting") {
    throw new Failure(
      "conflict",
      `container ${id} is restarting, wait until the container is running`,
    );
  }
}

/** The syntax of `ctrl-p,ctrl-q`: after the hijack an error would be hard to see. */
export function checkDetachKeys(text: string): void {
  if (
    text === "" ||
    /^(ctrl-[a-z@[\\\]^_]|[\x20-\x7e])(,(ctrl-[a-z@[\\\]^_]|[\x20-\x7e]))*$/i.test(text)
  ) {
    return;
  }
  throw new Failure("invalid", `Invalid detach keys (${text.slice(0, 100)}) provided`);
}

async function logs(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { query, minor, signal } = exchange;
  const container = engine.resolve(name);
  const stdout = flag(query, "stdout");
  const stderr = flag(query, "stderr");
  if (!stdout && !stderr) {
    throw new Failure("invalid", "Bad parameters: you must choose at least one stream");
  }
  const tailText = query.get("tail") ?? "all";
  const tail = /^\d{1,15}$/.test(tailText) ? Number(tailText) : undefined;
  const sinceNs = timeNs(query, "since");
  const untilNs = timeNs(query, "until");
  const chunks = engine.logs(container.id, {
    stdout,
    stderr,
    from: "start",
    follow: flag(query, "follow"),
    signal,
    ...(tail === undefined ? {} : { tail }),
    ...(sinceNs === undefined ? {} : { sinceNs }),
    ...(untilNs === undefined ? {} : { untilNs }),
  });
  const isTty = container.config.Tty;
  const output = exchange.stream(200, streamType(isTty, minor));
  const write = logWriter(output, {
    isTty,
    timestamps: flag(query, "timestamps"),
    ...detailsOf(query, container),
  });
  try {
    for await (const chunk of chunks) await write(chunk);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** `details`: what the log's options pick of the container, and a space. */
function detailsOf(query: URLSearchParams, container: Container) {
  if (!flag(query, "details")) return {};
  const all = Object.entries(logDetails(container)).map(([name, value]) => `${name}=${value}`);
  return { details: `${all.sort().join(",")} ` };
}

async function wait(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const over = engine.lastExit(name);
  const id = over ? name : engine.resolve(name).id;
  const condition = exchange.query.get("condition") || "not-running";
  if (condition !== "not-running" && condition !== "next-exit" && condition !== "removed") {
    throw new Failure("invalid", `invalid condition: "${condition.slice(0, 100)}"`);
  }
  const ended = over ? Promise.resolve(over) : engine.wait(id, condition, exchange.signal);
  ended.catch(() => {}); // it is awaited below
  // The client starts the container once it has this head: from here on no exit is missed.
  const output = exchange.stream(200, "application/json");
  try {
    const { exitCode, error } = await ended;
    await output.line({ StatusCode: exitCode, ...(error ? { Error: { Message: error } } : {}) });
  } catch (error) {
    if (exchange.signal.aborted) return;
    await output.line({ StatusCode: 125, Error: { Message: toFailure(error).message } });
  }
}

async function resize(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { rows, columns } = sizeOf(exchange.query);
  await engine.resize(engine.resolve(name).id, rows, columns);
  exchange.empty(200);
}

const sideMax = 65_535;

/** `h` and `w`. @throws Failure "invalid" */
export function sizeOf(query: URLSearchParams): { rows: number; columns: number } {
  const side = (name: string) => {
    const value = whole(query, name);
    if (value === undefined || value < 0 || value > sideMax) {
      throw new Failure("invalid", `invalid resize ${name === "h" ? "height" : "width"}`);
    }
    return value;
  };
  return { rows: side("h"), columns: side("w") };
}

export const routes: readonly Route[] = [
  ["POST", "/containers/{id}/attach", attach],
  ["GET", "/containers/{id}/logs", logs],
  ["POST", "/containers/{id}/wait", wait],
  ["POST", "/containers/{id}/resize", resize],
  ["GET", "/containers/{id}/stats", stats],
];
