import { Failure } from "../base/mod.ts";

/**
 * Sends bytes through a program: what `source` gives goes to its stdin, its stdout is the result. The
 * program is killed when the result is not read to its end.
 * @throws Failure "unavailable" — not installed; "corrupt" — it did not like its input
 */
export async function* filterThrough(
  argv: readonly [string, ...string[]],
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const program = Bun.which(argv[0], { PATH: `${process.env["PATH"] ?? ""}:/usr/bin:/bin` });
  if (!program) {
    throw new Failure("unavailable", `Cannot run "${argv[0]}": not installed`, {
      hint: argv[0] === "xz" ? "Install xz-utils" : `Install ${argv[0]}`,
    });
  }
  const child = Bun.spawn([program, ...argv.slice(1)], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  const feeding = feed(child.stdin, source).then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  try {
    yield* child.stdout;
    const fed = await feeding;
    // A program that dies early breaks the pipe: its exit code says more than that error does.
    if ((await child.exited) !== 0) {
      if (fed?.error instanceof Failure) throw fed.error;
      throw new Failure("corrupt", `Cannot decompress with ${argv[0]}: the input is damaged`);
    }
    if (fed) throw fed.error;
  } finally {
    child.kill("SIGKILL");
  }
}

async function feed(stdin: Bun.FileSink, source: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const chunk of source) {
      stdin.write(chunk);
      await stdin.flush();
    }
  } finally {
    await stdin.end();
  }
}
