/**
 * Tables of command lines as users type them. A step is a line for the shell, what it prints (both
 * streams, trimmed; a text is all of it) and, when that is not 0, its exit code.
 */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { command, dockerPath, type TestEngine } from "./engine.ts";

export type Step = readonly [line: string, printed: string | RegExp, code?: number];

/** Runs the steps in order. @throws Error — the first that printed, or ended, otherwise */
export async function follow(engine: TestEngine, steps: readonly Step[]): Promise<void> {
  const PATH = `${dirname(dockerPath!)}:${process.env["PATH"]}`;
  for (const [line, printed, wanted = 0] of steps) {
    const ran = await command(["sh", "-c", line], { env: { ...engine.env, PATH } });
    const said = `${ran.stdout}${ran.stderr}`.trim();
    const isRight = typeof printed === "string" ? said === printed : printed.test(said);
    if (isRight && ran.code === wanted) continue;
    throw new Error(`${line}\nexit ${ran.code}, wanted ${wanted}:\n${said}\nwanted ${printed}`);
  }
}

/** Waits until a line prints what is wanted. @throws Error — it never did */
export async function until(engine: TestEngine, step: Step): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await follow(engine, [step]);
    } catch (error) {
      if (tries === 200) throw error;
      await Bun.sleep(100);
    }
  }
}

/** Flags of a docker command, as its help lists them, that none of the test files names. */
export async function forgotten(engine: TestEngine, words: string, ...files: string[]) {
  const help = await engine.ok([...words.split(" "), "--help"]);
  const text = files.map((file) => readFileSync(file, "utf8")).join("\n");
  const flags = [...help.matchAll(/^ +(?:(-\w), )?(--[a-z0-9-]+)/gm)];
  return flags.flatMap(([, short, long]) => {
    const isNamed = [short, long].some(
      (flag) => flag && new RegExp(`[\\s"'\`]${flag}\\b`).test(text),
    );
    return isNamed ? [] : [`${words} ${long}`];
  });
}
