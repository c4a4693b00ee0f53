/** When a folder's newest commit was made, where the folder is the root of a git checkout. */
import { existsSync } from "node:fs";

const timeoutMs = 5_000;

/** Seconds since 1970; undefined where there is no checkout, no commit, or no git. */
export async function commitTime(folder: string): Promise<number | undefined> {
  if (!existsSync(`${folder}/.git`) || !Bun.which("git")) return undefined;
  const child = Bun.spawn(["git", "-C", folder, "log", "-1", "--format=%ct"], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
    timeout: timeoutMs,
  });
  const text = (await new Response(child.stdout).text()).trim();
  return (await child.exited) === 0 && /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}
