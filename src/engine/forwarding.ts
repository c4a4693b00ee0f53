import { hostname } from "node:os";
import { Failure, toFailure } from "../base/mod.ts";
import {
  attributesOf,
  type Forwarding,
  forward,
  isRemote,
  type Subject,
  tagOf,
} from "../logging/mod.ts";
import type { Chunk, LogPlace, OutputQuery, RunningProcess } from "../runtime/mod.ts";
import type { Core } from "./core.ts";
import type { Container } from "./types.ts";

/** Sends the output of a process to its log server, once it has been started. */
export interface Outlet {
  /** Undefined: it does not run, and what is left of its log shall be sent. */
  begin(process: RunningProcess | undefined): void;
  stop(): void;
}

/**
 * Connects to the log server of a container; undefined where it has none. Undo it with `stop` until it has
 * begun; then it ends by itself.
 * @throws Failure "unavailable" — the server cannot be reached
 */
export async function openOutlet(
  core: Core,
  container: Container,
  { isResumed = false } = {},
): Promise<Outlet | undefined> {
  const { id, hostConfig, logDirectory } = container;
  const { Type: driver, Config: options } = hostConfig.LogConfig;
  if (!isRemote(driver)) return undefined;
  const file = `${logDirectory}/forwarded`;
  let process: RunningProcess | undefined;
  const read = (place: unknown, signal: AbortSignal): AsyncIterable<Chunk> => {
    const from = (place as LogPlace | undefined) ?? "start";
    const query: OutputQuery = { stdout: true, stderr: true, from, follow: true, signal };
    return process?.read(query) ?? core.runtime.readLog(logDirectory, { ...query, follow: false });
  };
  const source = { driver, options, subject: subjectOf(container), file, read };
  const forwarding = await opened(forward(source, { isResumed }));
  return {
    begin: (started) => {
      process = started;
      void take(core, id, forwarding);
    },
    stop: () => forwarding.stop(),
  };
}

async function opened(opening: Promise<Forwarding>): Promise<Forwarding> {
  try {
    return await opening;
  } catch (cause) {
    const { code, message } = toFailure(cause);
    throw new Failure(code, `failed to initialize logging driver: ${message}`, { cause });
  }
}

/** One at a time: the next goes on where the one before has come to. */
async function take(core: Core, id: string, forwarding: Forwarding): Promise<void> {
  const earlier = core.forwardings.get(id);
  core.forwardings.set(id, forwarding);
  const leave = core.attachers.enter(id);
  earlier?.stop();
  await earlier?.done;
  forwarding.begin();
  await forwarding.done;
  leave();
  if (core.forwardings.get(id) === forwarding) core.forwardings.delete(id);
}

/** What an earlier daemon did not come to send of containers that do not run any more. */
export async function resumeOutlets(core: Core): Promise<void> {
  for (const { container } of core.records.all()) {
    if (core.live.has(container.id) || container.state.startedAt.startsWith("0001")) continue;
    const outlet = await openOutlet(core, container, { isResumed: true });
    outlet?.begin(undefined);
  }
}

/** What the log's options add to each line, for those who ask for details. @throws "invalid" */
export function logDetails(container: Container): Record<string, string> {
  const { Config } = container.hostConfig.LogConfig;
  const subject = subjectOf(container);
  const tag = Config["tag"] ? { tag: tagOf(subject, Config) } : {};
  return { ...attributesOf(subject, Config), ...tag };
}

function subjectOf(container: Container): Subject {
  const { id, name, config, created, imageId, path, args, logDirectory } = container;
  return {
    id,
    name,
    logDirectory,
    imageId,
    imageName: config.Image,
    command: [path, ...args].join(" "),
    created,
    env: config.Env ?? [],
    labels: config.Labels ?? {},
    hostname: hostname(),
  };
}
