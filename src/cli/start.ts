import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { forEachName } from "./complaint.ts";
import { type Client, engineOf } from "./engine.ts";
import { complain } from "./output.ts";
import { passSignals, runSession } from "./session.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: {
    attach: { kind: "bool", short: "a", about: "Show its output and pass signals on" },
    checkpoint: { kind: "string", about: "Restore from this checkpoint", hidden: true },
    "checkpoint-dir": { kind: "string", about: "Where checkpoints are kept", hidden: true },
    "detach-keys": { kind: "string", about: "Keys that detach from it (default ctrl-p,ctrl-q)" },
    interactive: { kind: "bool", short: "i", about: "Send it STDIN" },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    if (flags.checkpoint !== "") {
      throw new Failure("unsupported", "Cannot start from a checkpoint: Lading has no checkpoints");
    }
    if (!flags.attach && !flags.interactive) {
      const failed: string[] = [];
      const code = await forEachName(args, async (name) => {
        await engine.containers.start(name).catch((error: unknown) => {
          failed.push(name);
          throw error;
        });
        return name;
      });
      if (code !== 0) complain(`Error: failed to start containers: ${failed.join(", ")}`);
      return code;
    }
    if (args.length > 1) {
      throw new Failure("invalid", "you cannot start and attach multiple containers at once");
    }
    return startAttached(engine, args[0]!, {
      wantsInput: flags.interactive,
      detachKeys: flags["detach-keys"],
    });
  },
});

async function startAttached(
  engine: Client,
  name: string,
  { wantsInput, detachKeys }: { wantsInput: boolean; detachKeys: string },
): Promise<number> {
  const { Id: id, Config, HostConfig } = await engine.containers.inspect(name);
  const terminal = Config.Tty
    ? (require("./terminal.ts") as typeof import("./terminal.ts"))
    : undefined;
  const sendsInput = wantsInput && Config.OpenStdin;
  if (sendsInput) terminal?.requireTerminal();
  if (!Config.Tty) passSignals((signal) => engine.containers.kill(id, { signal }));
  const [stream, { exit }] = await Promise.all([
    engine.containers.attach(id, {
      stream: true,
      stdin: sendsInput,
      stdout: true,
      stderr: true,
      detachKeys,
    }),
    engine.containers.wait(id, { condition: HostConfig.AutoRemove ? "removed" : "next-exit" }),
  ]);
  exit.catch(() => {}); // awaited below
  const session = runSession(stream, { sendsInput, isTerminal: Config.Tty });
  session.catch(() => {}); // awaited below
  try {
    await engine.containers.start(id);
  } catch (error) {
    stream.close();
    throw error;
  }
  terminal?.followSize(({ rows, columns }) => engine.containers.resize(id, rows, columns));
  await session;
  if (terminal) {
    const ended = await Promise.race([exit.then(() => true), Bun.sleep(250).then(() => false)]);
    const isRunning = !ended && (await engine.containers.inspect(id)).State.Running;
    if (isRunning) {
      complain("read escape sequence");
      return 0;
    }
  }
  return (await exit).StatusCode;
}
