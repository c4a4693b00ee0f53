import { toFailure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { complaintText, isAnswer } from "./complaint.ts";
import { createBody } from "./create-body.ts";
import { createContainer, startExitCode } from "./create-container.ts";
import { type Client, engineOf } from "./engine.ts";
import { complain, print } from "./output.ts";
import { runFlags } from "./run-flags.ts";
import { passSignals, runSession } from "./session.ts";

export const command = defineCommand({
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: runFlags,
  arguments: { min: 1 },
  interspersed: false,
  failureCode: 125,
  async run(call) {
    const { flags, globals, name } = call;
    if (flags.detach && flags.attach.length > 0) {
      complain("conflicting options: cannot specify both --attach and --detach");
      return 125;
    }
    const asked = await createBody(call);
    const isTerminal = flags.tty && !flags.detach;
    const terminal = flags.tty
      ? (require("./terminal.ts") as typeof import("./terminal.ts"))
      : undefined;
    if (isTerminal && asked.AttachStdin && !terminal!.isatty(0)) {
      complain("the input device is not a TTY");
      return 1;
    }
    const size = terminal?.terminalSize();
    const body = {
      ...asked,
      ...(flags.detach
        ? { AttachStdin: false, AttachStdout: false, AttachStderr: false, StdinOnce: false }
        : {}),
      HostConfig: {
        ...asked.HostConfig,
        ConsoleSize: [size?.rows ?? 0, size?.columns ?? 0] as const,
      },
    };
    const engine = engineOf(globals);
    const id = await createContainer(engine, body, flags);
    try {
      if (flags.detach) {
        await engine.containers.start(id);
        print(id);
        return 0;
      }
      return await runAttached(engine, id, {
        input: body.AttachStdin ?? false,
        output: body.AttachStdout ?? false,
        errors: body.AttachStderr ?? false,
        isTerminal,
        isRemoved: flags.rm,
        passesSignals: flags["sig-proxy"] && !isTerminal,
        detachKeys: flags["detach-keys"],
      });
    } catch (error) {
      if (!isAnswer(toFailure(error))) throw error;
      complain(`lading: ${complaintText(error)}`);
      complain(`\nRun 'lading ${name} --help' for more information`);
      return startExitCode(toFailure(error).message);
    }
  },
});

interface Attached {
  readonly input: boolean;
  readonly output: boolean;
  readonly errors: boolean;
  readonly isTerminal: boolean;
  readonly isRemoved: boolean;
  readonly passesSignals: boolean;
  readonly detachKeys: string;
}

/** Attaches and waits before the start, so that neither a byte nor the exit is missed. */
async function runAttached(engine: Client, id: string, how: Attached): Promise<number> {
  if (how.passesSignals) passSignals((signal) => engine.containers.kill(id, { signal }));
  const [stream, { exit }] = await Promise.all([
    engine.containers.attach(id, {
      stream: true,
      stdin: how.input,
      stdout: how.output,
      stderr: how.errors,
      detachKeys: how.detachKeys,
    }),
    engine.containers.wait(id, { condition: how.isRemoved ? "removed" : "next-exit" }),
  ]);
  exit.catch(() => {}); // awaited below
  const session = runSession(stream, { sendsInput: how.input, isTerminal: how.isTerminal });
  session.catch(() => {}); // awaited below
  try {
    await engine.containers.start(id);
  } catch (error) {
    stream.close();
    if (how.isRemoved) await exit.catch(() => {}); // until it is gone again
    throw error;
  }
  if (how.isTerminal) {
    const { followSize } = require("./terminal.ts") as typeof import("./terminal.ts");
    followSize(({ rows, columns }) => engine.containers.resize(id, rows, columns));
  }
  await session;
  if (how.isTerminal && (await isDetached(engine, id, exit))) {
    complain("read escape sequence");
    return 0;
  }
  const { StatusCode, Error: failure } = await exit;
  if (failure) {
    complain(`lading: ${failure.Message}`);
    return 125;
  }
  return StatusCode;
}

/** The stream of a terminal ends with its process, or when the user typed the detach keys. */
async function isDetached(engine: Client, id: string, exit: Promise<unknown>): Promise<boolean> {
  const graceMs = 100;
  const ended = exit.then(
    () => true,
    () => true,
  );
  if (await Promise.race([ended, Bun.sleep(graceMs).then(() => false)])) return false;
  const container = await engine.containers.inspect(id).catch(() => undefined);
  return container?.State.Running ?? false;
}
