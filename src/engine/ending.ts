import { Failure } from "../base/mod.ts";
import type { Exit } from "../runtime/mod.ts";
import type { Core, Live } from "./core.ts";
import { parseSignal } from "./signals.ts";
import type { Container } from "./types.ts";

const timeoutDefaultS = 10;
/** A SIGKILL that has no effect for so long never will: the process hangs in the kernel. */
export const killTimeoutMs = 30_000;
export const SIGKILL = 9;

export type StopOptions = { readonly signal?: string; readonly timeoutS?: number };
type Running = { readonly container: Container; readonly live: Live };

/** Signal, patience, then SIGKILL. Returns when the end is recorded. */
export async function end(
  core: Core,
  running: Running,
  { signal, timeoutS }: StopOptions,
): Promise<void> {
  const { container, live } = running;
  const first = signal ? parseSignal(signal) : stopSignalOf(container);
  const patienceS = timeoutS ?? container.config.StopTimeout ?? timeoutDefaultS;
  await send(core, running, first);
  const exit = await settled(live, patienceS < 0 ? undefined : patienceS * 1000);
  if (exit || !core.live.has(container.id)) return;
  await send(core, running, SIGKILL);
  if (await settled(live, killTimeoutMs)) return;
  throw new Failure("timeout", `cannot stop container: ${container.id}: it does not heed SIGKILL`);
}

export async function send(
  core: Core,
  { container, live }: Running,
  signal: number,
): Promise<void> {
  const { id } = container;
  live.process.signal(signal);
  core.events.container(container, "kill", { signal: String(signal) });
  if (core.records.find(id)?.state.status !== "paused") return;
  // A frozen process gets no signal: let it go on, so that it can end.
  await core.locks.run(id, async () => {
    if (core.records.find(id)?.state.status !== "paused") return;
    await core.runtime.resume(id);
    core.records.change(id, { state: { status: "running" } });
  });
}

export async function settled(
  live: Live,
  timeoutMs: number | undefined,
): Promise<Exit | undefined> {
  if (timeoutMs === undefined) return await live.recorded;
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), Math.min(timeoutMs, 2 ** 31 - 1));
  try {
    return await Promise.race([live.recorded, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

export function stopSignalOf({ config }: Container): number {
  return parseSignal(config.StopSignal || "TERM");
}
