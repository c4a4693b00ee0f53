import { toFailure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { startExitCode } from "./create-container.ts";
import { type Client, engineOf } from "./engine.ts";
import type { FlagValues } from "./flags.ts";
import { readEnvironment } from "./key-values.ts";
import { complain } from "./output.ts";
import { runSession } from "./session.ts";

const flags = {
  detach: { kind: "bool", short: "d", about: "Run it in the background" },
  "detach-keys": { kind: "string", about: "Keys that detach from it (default ctrl-p,ctrl-q)" },
  env: {
    kind: "list",
    short: "e",
    about: "Set an environment variable: NAME=VALUE, or NAME to pass it on",
  },
  "env-file": { kind: "list", about: "Read environment variables from a file" },
  interactive: { kind: "bool", short: "i", about: "Send STDIN" },
  privileged: { kind: "bool", about: "Give it all rights" },
  tty: { kind: "bool", short: "t", about: "Give it a terminal" },
  user: { kind: "string", short: "u", about: "Run as this user: NAME|UID[:GROUP|GID]" },
  workdir: { kind: "string", short: "w", about: "Working folder inside the container" },
} as const;

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
  flags,
  arguments: { min: 2 },
  interspersed: false,
  async run({ flags: values, args, globals }) {
    const [container = "", ...words] = args;
    const engine = engineOf(globals);
    const terminal = values.tty
      ? (require("./terminal.ts") as typeof import("./terminal.ts"))
      : undefined;
    if (values.interactive && !values.detach) terminal?.requireTerminal();
    const size = terminal?.terminalSize();
    const shared = {
      Tty: values.tty,
      ...(size ? { ConsoleSize: [size.rows, size.columns] as const } : {}),
    };
    const { Id } = await engine.execs.create(container, {
      ...shared,
      Cmd: words,
      Env: await readEnvironment(values["env-file"], values.env),
      User: values.user,
      WorkingDir: values.workdir,
      Privileged: values.privileged,
      DetachKeys: values["detach-keys"],
      AttachStdin: values.interactive && !values.detach,
      AttachStdout: !values.detach,
      AttachStderr: !values.detach,
    });
    if (values.detach) {
      await engine.execs.startDetached(Id);
      return 0;
    }
    return runExec(engine, Id, { values, shared });
  },
});

async function runExec(
  engine: Client,
  id: string,
  how: { values: FlagValues<typeof flags>; shared: object },
): Promise<number> {
  const { tty, interactive } = how.values;
  try {
    const stream = await engine.execs.start(id, how.shared);
    if (tty) {
      const { followSize } = require("./terminal.ts") as typeof import("./terminal.ts");
      followSize(({ rows, columns }) => engine.execs.resize(id, rows, columns));
    }
    await runSession(stream, { sendsInput: interactive, isTerminal: tty });
  } catch (error) {
    const code = startExitCode(toFailure(error).message);
    complain(complaintText(error));
    return code === 125 ? 1 : code;
  }
  const { ExitCode, Running } = await engine.execs.inspect(id);
  return Running ? 0 : (ExitCode ?? 0);
}
