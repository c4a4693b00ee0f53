import { Failure } from "../base/mod.ts";

/** What `--chmod` does to a mode; `isFolder` matters to `X`. */
export type ChangeMode = (mode: number, isFolder: boolean) => number;

/** `755`, `0644`, `u=rwX,go=rX`. @throws Failure "invalid" */
export function parseChmod(text: string): ChangeMode {
  if (/^[0-7]{1,5}$/.test(text) && Number.parseInt(text, 8) <= 0o7777) {
    const mode = Number.parseInt(text, 8);
    return () => mode;
  }
  const clauses = text.split(",").map(parseClause);
  if (/^\d/.test(text) || clauses.some((clause) => clause === undefined)) {
    const problem = `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`;
    throw new Failure("invalid", problem, { hint: "Letters work too: u=rwX,go=rX" });
  }
  return (mode, isFolder) =>
    clauses.reduce((current, clause) => clause!(current, isFolder), mode & 0o7777);
}

const shifts: Record<string, number> = { u: 6, g: 3, o: 0 };

function parseClause(text: string): ChangeMode | undefined {
  const match = /^([ugoa]*)((?:[-+=][rwxXst]*)+)$/.exec(text);
  if (!match) return undefined;
  const who = match[1] === "" || match[1]!.includes("a") ? "ugo" : match[1]!;
  const operations = [...match[2]!.matchAll(/([-+=])([rwxXst]*)/g)];
  return (mode, isFolder) =>
    operations.reduce((current, [, operator, letters]) => {
      const bits = bitsOf({ who, letters: letters!, mode: current, isFolder });
      if (operator === "+") return current | bits;
      if (operator === "-") return current & ~bits;
      const cleared = [...who].reduce((left, letter) => left & ~(7 << shifts[letter]!), current);
      return cleared | bits;
    }, mode);
}

function bitsOf(ask: { who: string; letters: string; mode: number; isFolder: boolean }): number {
  const { who, letters, mode, isFolder } = ask;
  let triple = 0;
  if (letters.includes("r")) triple |= 4;
  if (letters.includes("w")) triple |= 2;
  if (letters.includes("x")) triple |= 1;
  if (letters.includes("X") && (isFolder || (mode & 0o111) !== 0)) triple |= 1;
  let bits = [...who].reduce((all, letter) => all | (triple << shifts[letter]!), 0);
  if (letters.includes("s") && who.includes("u")) bits |= 0o4000;
  if (letters.includes("s") && who.includes("g")) bits |= 0o2000;
  if (letters.includes("t")) bits |= 0o1000;
  return bits;
}
