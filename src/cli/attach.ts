import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { complain } from "./output.ts";
import { passSignals, runSession } from "./session.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER",
  flags: {
    "detach-keys": { kind: "string", about: "Keys that detach from it (default ctrl-p,ctrl-q)" },
    "no-stdin": { kind: "bool", about: "Do not send STDIN" },
    "sig-proxy": { kind: "bool", default: true, about: "Pass signals on to its process" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const name = args[0]!;
    const engine = engineOf(globals);
    const { Id: id, State, Config } = await engine.containers.inspect(name);
    if (!State.Running) {
      throw new Failure("conflict", "cannot attach to a stopped container, start it first");
    }
    if (State.Paused) {
      throw new Failure("conflict", "cannot attach to a paused container, unpause it first");
    }
    if (State.Restarting) {
      throw new Failure(
        "conflict",
        "cannot attach to a restarting container, wait until it is running",
      );
    }
    const terminal = Config.Tty
      ? (require("./terminal.ts") as typeof import("./terminal.ts"))
      : undefined;
    const sendsInput = !flags["no-stdin"] && Config.OpenStdin;
    if (sendsInput) terminal?.requireTerminal();
    if (flags["sig-proxy"] && !Config.Tty) {
      passSignals((signal) => engine.containers.kill(id, { signal }));
    }
    const [stream, { exit }] = await Promise.all([
      engine.containers.attach(id, {
        stream: true,
        stdin: sendsInput,
        stdout: true,
        stderr: true,
        detachKeys: flags["detach-keys"],
      }),
      engine.containers.wait(id),
    ]);
    exit.catch(() => {}); // awaited below
    terminal?.followSize(({ rows, columns }) => engine.containers.resize(id, rows, columns), {
      redraws: true,
    });
    await runSession(stream, { sendsInput, isTerminal: Config.Tty });
    const graceMs = 250;
    const code = await Promise.race([
      exit.then(({ StatusCode }) => StatusCode),
      Bun.sleep(graceMs).then(() => undefined),
    ]);
    if (code !== undefined) return code;
    const after = await engine.containers.inspect(id);
    if (!after.State.Running) return after.State.ExitCode;
    complain("read escape sequence");
    return 0;
  },
});
