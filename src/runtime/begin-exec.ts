import { mkdirSync } from "node:fs";
import { makeFifo, openFifo, openProcess } from "../sys/mod.ts";
import { containerDirectory, execCommand, execDirectory, type Host } from "./host.ts";
import { openOutputPipes } from "./pipes.ts";
import { isBuiltIn } from "./programs.ts";
import { runtimeId } from "./runtime-id.ts";
import { drop, type SpareRun } from "./spare-run.ts";
import { makePipes, pipeName, processFile } from "./watcher.ts";

/** What was created and is not started after so long takes the longer way. */
const keptMs = 2_000;
const begunMax = 4;

/** An exec whose runtime waits for its process. */
export interface BegunExec extends SpareRun {
  readonly timer: ReturnType<typeof setTimeout>;
  /** To be called once the watcher has shown signs of life. */
  release(): void;
}

/** As `Runtime.expectExec`. */
export async function beginExec(host: Host, id: string, execId: string): Promise<void> {
  const runtime = await host.programs.of(containerDirectory(host, id));
  if (!isBuiltIn(runtime) || host.begun.size >= begunMax) return;
  const name = runtimeId(host, id);
  const directory = execDirectory(host, id, execId);
  mkdirSync(directory, { mode: 0o700 });
  makePipes(directory, { stdin: false, terminal: false });
  makeFifo(`${directory}/${processFile}`);
  const config = openFifo(`${directory}/${processFile}`, "both");
  const pipes = openOutputPipes(directory, false);
  const events = openFifo(`${directory}/${pipeName.events}`, "read");
  const { pid, release } = host.spare.start({
    directory,
    argv: execCommand(host, runtime, { name, more: ["--pid-file", pipeName.events] }),
    stdin: false,
    terminal: undefined,
    tells: true,
    device: undefined,
    oomEvent: undefined,
    waitsFor: processFile,
  });
  const timer = setTimeout(() => dropExec(host, directory), keptMs).unref();
  const watcher = openProcess(pid);
  host.begun.set(directory, { directory, watcher, config, pipes, events, timer, release });
}

/** What was begun in a directory, the caller's from here on. */
export function takeExec(host: Host, directory: string): BegunExec | undefined {
  const begun = host.begun.get(directory);
  if (!begun) return undefined;
  host.begun.delete(directory);
  clearTimeout(begun.timer);
  return begun;
}

/** Ends what was begun in a directory; nothing is fine. */
export function dropExec(host: Host, directory: string): void {
  const begun = takeExec(host, directory);
  if (!begun) return;
  begun.release();
  host.spare.prepareSoon();
  drop(begun);
}
