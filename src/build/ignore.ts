import { Failure } from "../base/mod.ts";
import { Glob } from "./glob.ts";
import { anythingStep, compileMatch, foldersSteps, matchSteps } from "./pattern.ts";

/** What a `.dockerignore` (or `--exclude`) leaves out. Paths are relative, with "/", no leading one. */
export interface Ignore {
  /** No pattern at all: nothing needs to be asked. */
  readonly isEmpty: boolean;
  /** True when the path itself, or a folder above it, is left out and no later `!` takes it back. */
  excludes(path: string): boolean;
  /** True when everything below an excluded folder is out too, so that nobody need look into it. */
  prunes(folder: string): boolean;
  /** One line a rule, in order; part of cache keys. */
  readonly rules: readonly string[];
}

/** Bytes in a .dockerignore. */
export const ignoreBytesMax = 4 << 20;
const rulesMax = 100_000;

interface Rule {
  readonly keep: boolean;
  readonly pattern: string;
  readonly matches: (path: string) => boolean;
}

/** Reads a `.dockerignore`: one pattern a line, `#` comments, `!` exceptions. @throws "invalid" */
export function parseIgnore(text: string): Ignore {
  const plain = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const lines = plain.split("\n").filter((line) => !line.startsWith("#"));
  return compileIgnore(lines.map((line) => line.trim()).filter((line) => line !== ""));
}

/** Patterns in order; the last one that matches decides. @throws Failure "invalid" on a bad pattern */
export function compileIgnore(patterns: readonly string[]): Ignore {
  if (patterns.length > rulesMax) {
    throw new Failure("exhausted", `Cannot use .dockerignore: more than ${rulesMax} patterns`);
  }
  const rules = patterns.flatMap(compileRule);
  const hasExceptions = rules.some(({ keep }) => keep);
  return {
    isEmpty: rules.length === 0,
    rules: rules.map(({ keep, pattern }) => `${keep ? "!" : ""}${pattern}`),
    excludes: (path) => excludes(rules, path),
    prunes: (folder) => {
      if (!excludes(rules, folder)) return false;
      return !hasExceptions || !rules.some((rule) => rule.keep && mayReach(rule.pattern, folder));
    },
  };
}

function compileRule(line: string): Rule[] {
  const keep = line.startsWith("!");
  const body = keep ? line.slice(1).trim() : line;
  if (keep && body === "") {
    throw new Failure("invalid", `Cannot use .dockerignore: illegal exclusion pattern: "!"`);
  }
  const pattern = clean(body);
  return pattern === "" ? [] : [{ keep, pattern, matches: matcherOf(pattern) }];
}

/** Go's path.Clean, without the leading "/". "." alone stands for nothing, as in Docker. */
function clean(pattern: string): string {
  const parts: string[] = [];
  for (const part of pattern.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(part);
  }
  return parts.join("/");
}

function matcherOf(pattern: string): (path: string) => boolean {
  if (!/[*?[\\]/.test(pattern)) return (path) => path === pattern;
  // As in Docker: "**/" stands for any number of folders, a "**" at the end for anything.
  const pieces = pattern.split(/\*\*\/?/);
  const last = pieces.pop()!;
  const isOpen = pattern.endsWith("**");
  const steps = pieces.flatMap((piece, index) => {
    const isAnything = isOpen && index === pieces.length - 1;
    return [...matchSteps(piece), ...(isAnything ? [anythingStep] : foldersSteps)];
  });
  const shape = new Glob([...steps, ...matchSteps(last)]);
  return (path) => shape.test(path);
}

function excludes(rules: readonly Rule[], path: string): boolean {
  const chain = [path];
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
    chain.push(path.slice(0, at));
  }
  let out = false;
  for (const rule of rules) {
    if (rule.keep === out && chain.some(rule.matches)) out = !rule.keep;
  }
  return out;
}

/** Could an exception's pattern match something below `folder`? Errs on the side of yes. */
function mayReach(pattern: string, folder: string): boolean {
  const parts = pattern.split("/");
  const folders = folder.split("/");
  for (const [index, name] of folders.entries()) {
    const part = parts[index];
    if (part === undefined) return true;
    if (part.includes("**")) return true;
    if (!compileMatch(part).test(name)) return false;
  }
  return true;
}
