import { Failure } from "../base/mod.ts";

const special = /[\\^$.*+?()[\]{}|/]/g;
const literal = (text: string) => text.replace(special, "\\$&");

/**
 * A pattern of `${v#pattern}` as the source of a regular expression: `*` and `?`, no classes.
 * Undefined when an escape is not one of `\*`, `\?`, `\\`, `\}`, `\/`.
 */
export function shellPattern(pattern: string, greedy: boolean): string | undefined {
  let out = "";
  for (let index = 0; index < pattern.length; index++) {
    const char = pattern[index]!;
    if (char === "*") out += greedy ? ".*" : ".*?";
    else if (char === "?") out += ".";
    else if (char === "\\") {
      const next = pattern[++index];
      if (next === undefined || !"*?\\}/".includes(next)) return undefined;
      out += literal(next);
    } else out += literal(char);
  }
  return out;
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
export function compileMatch(pattern: string): RegExp {
  let out = "";
  let at = 0;
  while (at < pattern.length) {
    const char = pattern[at]!;
    if (char === "*") out += "[^/]*";
    else if (char === "?") out += "[^/]";
    else if (char === "[") {
      const [source, end] = classOf(pattern, at);
      out += source;
      at = end;
      continue;
    } else if (char === "\\") {
      if (at + 1 >= pattern.length) throw malformed(pattern);
      out += literal(pattern[++at]!);
    } else out += literal(char);
    at++;
  }
  return new RegExp(`^(?:${out})$`, "su");
}

function malformed(pattern: string): Failure {
  return new Failure("invalid", `Cannot use the pattern "${pattern}": syntax error in pattern`);
}

/** `[a-z]`, `[^a-z]`: the class's source and the offset after it. Never matches "/". */
function classOf(pattern: string, start: number): [source: string, end: number] {
  let at = start + 1;
  const negated = pattern[at] === "^";
  if (negated) at++;
  const ranges: string[] = [];
  const member = (): string => {
    let char = pattern[at];
    if (char === undefined || char === "-" || char === "]") throw malformed(pattern);
    if (char === "\\") char = pattern[++at];
    if (char === undefined) throw malformed(pattern);
    const point = char.codePointAt(0)!;
    at += char.length;
    return `\\u{${point.toString(16)}}`;
  };
  while (pattern[at] !== "]" || ranges.length === 0) {
    const low = member();
    if (pattern[at] !== "-") {
      ranges.push(low);
      continue;
    }
    at++;
    const high = member();
    // Go lets a range run backwards and matches nothing; a regular expression would refuse it.
    const [from, to] = [low, high].map((text) => Number.parseInt(text.slice(3, -1), 16));
    if (from! <= to!) ranges.push(`${low}-${high}`);
    else ranges.push("");
  }
  const body = ranges.join("");
  const inside = negated ? `[^${body}]` : body === "" ? "[^\\s\\S]" : `[${body}]`;
  return [`(?!/)${inside}`, at + 1];
}
