import { closeSync } from "node:fs";
import { enlargePipe, openFifo } from "../sys/mod.ts";
import { pipeBytes } from "./input.ts";
import { pipeName } from "./watcher.ts";

/** Reading sides of a process's output pipes. */
export interface OutputPipes {
  readonly stdout: number;
  readonly stderr: number | undefined;
}

/** Opens the reading sides; the pipes hold a MiB each where the host allows it. */
export function openOutputPipes(directory: string, terminal: boolean): OutputPipes {
  const open = (name: string) => {
    const file = openFifo(`${directory}/${name}`, "read");
    enlargePipe(file, pipeBytes);
    return file;
  };
  return {
    stdout: open(pipeName.stdout),
    stderr: terminal ? undefined : open(pipeName.stderr),
  };
}

export function closePipes({ stdout, stderr }: OutputPipes): void {
  closeSync(stdout);
  if (stderr !== undefined) closeSync(stderr);
}
