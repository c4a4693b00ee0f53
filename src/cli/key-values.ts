/** `NAME=VALUE` lists, from flags and from files. */
import { Failure } from "../base/mod.ts";

const fileBytesMax = 16 << 20;

/** Reads a text file. @throws Failure "not_found" | "exhausted" in Go's words */
export async function readText(path: string): Promise<string> {
  const file = Bun.file(path);
  if (file.size > fileBytesMax) throw new Failure("exhausted", `open ${path}: file is too large`);
  try {
    return await file.text();
  } catch (cause) {
    const { code = "" } = cause as { code?: string };
    const why = { ENOENT: "no such file or directory", EISDIR: "is a directory" }[code];
    throw new Failure("not_found", `open ${path}: ${why ?? "permission denied"}`, { cause });
  }
}

async function linesOf(path: string): Promise<string[]> {
  const text = (await readText(path)).replace(/^\uFEFF/, "");
  return text
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function checkName(name: string, line: string, path: string): void {
  if (name === "") throw new Failure("invalid", `no variable name on line '${line}'`);
  if (/\s/.test(name)) {
    throw new Failure(
      "invalid",
      `poorly formatted environment: ${path}: variable '${name}' contains whitespaces`,
    );
  }
}

/**
 * Environment: files first, then flags. A bare NAME takes this process's value; without one it takes
 * the image's variable away when a flag says so, and means nothing in a file.
 */
export async function readEnvironment(
  files: readonly string[],
  flags: readonly string[],
): Promise<string[]> {
  const all: string[] = [];
  const add = (line: string): void => {
    if (line.includes("=")) all.push(line);
    else if (process.env[line] !== undefined) all.push(`${line}=${process.env[line]}`);
  };
  for (const path of files) {
    for (const line of await linesOf(path)) {
      checkName(line.split("=")[0]!.trimEnd(), line, path);
      add(line);
    }
  }
  for (const flag of flags) {
    if (flag.includes("=") || process.env[flag] !== undefined) add(flag);
    else all.push(flag);
  }
  return all;
}

/** Labels: files first, then flags; the last of a name holds. */
export async function readLabels(
  files: readonly string[],
  flags: readonly string[],
): Promise<Record<string, string>> {
  const lines: string[] = [];
  for (const path of files) {
    for (const line of await linesOf(path)) {
      checkName(line.split("=")[0]!.trimEnd(), line, path);
      // As Docker: in a file, a name alone says nothing.
      if (line.includes("=")) lines.push(line);
    }
  }
  const odd = flags.find((flag) => flag.startsWith("=") || flag === "");
  if (odd !== undefined) throw new Failure("invalid", `invalid label '${odd}': empty name`);
  return toMap([...lines, ...flags]);
}

/** `["a=b", "c"]` → `{ a: "b", c: "" }`. */
export function toMap(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      return at === -1 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** `--filter name=value` as the API has it. @throws Failure "invalid" */
export function parseFilters(texts: readonly string[]): Record<string, string[]> {
  const filters: Record<string, string[]> = {};
  for (const text of texts) {
    if (text === "") continue;
    const at = text.indexOf("=");
    if (at === -1) throw new Failure("invalid", "bad format of filter (expected name=value)");
    const name = text.slice(0, at).trim().toLowerCase();
    (filters[name] ??= []).push(text.slice(at + 1).trim());
  }
  return filters;
}

/** Refuses a filter while flags are read. */
export function checkFilter(text: string): void {
  parseFilters([text]);
}

/** `a=b` must have its `=`. @throws Failure "invalid" */
export function requirePairs(pairs: readonly string[], what: string): Record<string, string> {
  const bad = pairs.find((pair) => !pair.includes("="));
  if (bad !== undefined) throw new Failure("invalid", `invalid ${what}`);
  return toMap(pairs);
}
