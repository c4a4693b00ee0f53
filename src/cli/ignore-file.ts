/**
 * `.dockerignore` on the client's side: what it names is not sent. The engine applies the file again,
 * so a difference between the two can cost bytes but never lets a file through.
 * Spec: https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
import { Failure } from "../base/mod.ts";

interface Rule {
  readonly keeps: boolean;
  readonly pattern: string;
  readonly shape: RegExp;
}

export interface IgnoreFile {
  /** True when the path (relative, with "/") is left out. */
  excludes(path: string): boolean;
  /** True when nothing below the folder can be kept. */
  prunes(folder: string): boolean;
}

/** Reads the file's text; `kept` names paths that are sent whatever it says. @throws Failure "invalid" */
export function parseIgnoreFile(text: string, kept: readonly string[] = []): IgnoreFile {
  const lines = text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const rules = [...lines, ...kept.map((path) => `!${path}`)].flatMap(parseRule);
  const excludes = (path: string): boolean => {
    let isOut = false;
    for (const rule of rules) {
      if (rule.keeps === isOut && rule.shape.test(path)) isOut = !rule.keeps;
    }
    return isOut;
  };
  const exceptions = rules.filter((rule) => rule.keeps);
  return {
    excludes,
    prunes: (folder) => excludes(folder) && !exceptions.some((rule) => reachesBelow(rule, folder)),
  };
}

function parseRule(line: string): Rule[] {
  const keeps = line.startsWith("!");
  const body = keeps ? line.slice(1).trim() : line;
  if (keeps && body === "") {
    throw new Failure("invalid", `Error checking context: illegal exclusion pattern: "!"`);
  }
  const pattern = cleanPattern(body);
  return pattern === "" ? [] : [{ keeps, pattern, shape: shapeOf(pattern, line) }];
}

function cleanPattern(pattern: string): string {
  const parts: string[] = [];
  for (const part of pattern.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(part);
  }
  return parts.join("/");
}

/** Matches the path itself and all that is below it. */
function shapeOf(pattern: string, line: string): RegExp {
  let source = "";
  for (let at = 0; at < pattern.length; ) {
    const rest = pattern.slice(at);
    const stars = /^\*\*(\/|$)?/.exec(rest);
    if (stars) {
      source += stars[1] === "/" ? "(?:.*/)?" : ".*";
      at += stars[0].length;
      continue;
    }
    const sign = rest[0]!;
    const group = /^\[\^?\]?(?:\\.|[^\]\\])*\]/.exec(rest);
    if (sign === "*") source += "[^/]*";
    else if (sign === "?") source += "[^/]";
    else if (sign === "[" && group) {
      source += `(?!/)${group[0].replace(/(?<=^\[\^?)\]/, "\\]")}`;
      at += group[0].length;
      continue;
    } else if (sign === "[" || (sign === "\\" && rest.length === 1)) {
      throw new Failure("invalid", `error checking context: syntax error in pattern: ${line}`);
    } else if (sign === "\\") {
      source += escaped(rest[1]!);
      at++;
    } else source += escaped(sign);
    at++;
  }
  return new RegExp(`^(?:${source})(?:/.*)?$`, "s");
}

function escaped(sign: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(sign) ? `\\${sign}` : sign;
}

/** Could the rule match something below the folder? Errs on the side of yes. */
function reachesBelow({ pattern }: Rule, folder: string): boolean {
  if (pattern.includes("**")) return true;
  const names = folder.split("/");
  const parts = pattern.split("/");
  return names.every((name, at) => {
    const part = parts[at];
    return part === undefined || /[*?[\\]/.test(part) || part === name;
  });
}
