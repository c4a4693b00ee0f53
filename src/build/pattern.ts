import { Failure } from "../base/mod.ts";
import { Glob, type Step } from "./glob.ts";

/** Of one pattern: more than the longest path, and so much that a machine for it stays small. */
const patternCharsMax = 8_192;
const any = () => true;
const same = (wanted: string) => (char: string) => char === wanted;
const notSlash = (char: string) => char !== "/";

/**
 * A pattern of `${v#pattern}` as steps: `*` and `?`, no classes. Undefined when an escape is not one of
 * `\*`, `\?`, `\\`, `\}`, `\/`.
 */
export function shellPattern(pattern: string): Step[] | undefined {
  const chars = [...pattern];
  if (chars.length > patternCharsMax) return undefined;
  const steps: Step[] = [];
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at]!;
    if (char === "*") steps.push({ kind: "chars", accepts: any });
    else if (char === "?") steps.push({ kind: "char", accepts: any });
    else if (char === "\\") {
      const next = chars[++at];
      if (next === undefined || !"*?\\}/".includes(next)) return undefined;
      steps.push({ kind: "char", accepts: same(next) });
    } else steps.push({ kind: "char", accepts: same(char) });
  }
  return steps;
}

/** True when the name holds an unescaped wildcard of Go's filepath.Match. */
export function hasWildcard(name: string): boolean {
  return /[*?[]/.test(name.replace(/\\./gs, ""));
}

/** The name without the escapes of a pattern. */
export function unescapePattern(name: string): string {
  return name.replace(/\\(.)/gs, "$1");
}

/**
 * Go's filepath.Match for one path element or a whole path; `*`, `?` and classes never match "/".
 * https://pkg.go.dev/path/filepath#Match
 * @throws Failure "invalid" — the pattern is malformed
 */
export function compileMatch(pattern: string): Glob {
  return new Glob(matchSteps(pattern));
}

/** The same as steps, to be joined with others. */
export function matchSteps(pattern: string): Step[] {
  const chars = [...pattern];
  if (chars.length > patternCharsMax) throw malformed(`${pattern.slice(0, 100)}…`);
  const steps: Step[] = [];
  for (let at = 0; at < chars.length; ) {
    const char = chars[at++]!;
    if (char === "*") steps.push({ kind: "chars", accepts: notSlash });
    else if (char === "?") steps.push({ kind: "char", accepts: notSlash });
    else if (char === "[") {
      const { accepts, end } = classOf(chars, at, pattern);
      steps.push({ kind: "char", accepts });
      at = end;
    } else if (char === "\\") {
      const next = chars[at++];
      if (next === undefined) throw malformed(pattern);
      steps.push({ kind: "char", accepts: same(next) });
    } else steps.push({ kind: "char", accepts: same(char) });
  }
  return steps;
}

// What two stars stand for in a .dockerignore: at the end, and before a slash.
export const anythingStep: Step = { kind: "chars", accepts: any };
export const foldersSteps: readonly Step[] = [
  { kind: "skip", count: 2 },
  anythingStep,
  { kind: "char", accepts: same("/") },
];

function malformed(pattern: string): Failure {
  return new Failure("invalid", `Cannot use the pattern "${pattern}": syntax error in pattern`);
}

/** `[a-z]`, `[^a-z]` after the "[": what it accepts, and the offset behind it. Never "/". */
function classOf(
  chars: readonly string[],
  start: number,
  pattern: string,
): { accepts: (char: string) => boolean; end: number } {
  let at = start;
  const isNegated = chars[at] === "^";
  if (isNegated) at++;
  const ranges: (readonly [low: number, high: number])[] = [];
  const member = (): number => {
    let char = chars[at];
    if (char === undefined || char === "-" || char === "]") throw malformed(pattern);
    if (char === "\\") char = chars[++at];
    if (char === undefined) throw malformed(pattern);
    at++;
    return char.codePointAt(0)!;
  };
  while (chars[at] !== "]" || ranges.length === 0) {
    const low = member();
    if (chars[at] !== "-") {
      ranges.push([low, low]);
      continue;
    }
    at++;
    ranges.push([low, member()]); // backwards: it matches nothing, as in Go
  }
  const accepts = (char: string) => {
    const point = char.codePointAt(0)!;
    const isIn = ranges.some(([low, high]) => low <= point && point <= high);
    return char !== "/" && isIn !== isNegated;
  };
  return { accepts, end: at + 1 };
}
