/** What the rules of several instructions share: their line, JSON lists, commands. */
import type { FlagContext, Flags } from "./flags.ts";
import type { Command } from "./instruction.ts";

/** Everything a rule gets to see of its line. */
export interface Context extends FlagContext {
  readonly flags: Flags;
  /** The arguments after the flags, and where they begin in the line. */
  readonly rest: string;
  readonly offset: number;
  fail(problem: string, hint?: string, word?: string): Error;
}

/** A JSON array of strings, or undefined: then the text is in the shell form. */
export function readJson(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value) && value.every((item) => typeof item === "string");
    return isList ? value : undefined;
  } catch {
    return undefined; // `[ -f x ] && y` is a command for the shell
  }
}

/** `["a", "b"]`, or text for the shell. */
export function readCommand({ rest, line }: Pick<Context, "rest" | "line">): Command {
  const args = readJson(rest);
  if (args) return { form: "exec", args };
  return { form: "shell", text: rest, heredocs: line.heredocs };
}
