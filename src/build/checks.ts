/**
 * The build checks: what is allowed in a Dockerfile and yet most likely not meant. Names and meaning are
 * those of https://docs.docker.com/reference/build-checks/. Pure functions over the parsed Dockerfile;
 * a check that would have to guess what a variable holds stays silent.
 */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { experimentalRules, type RuleName } from "./checks-rules.ts";
import { stageChecks } from "./checks-stages.ts";
import {
  defaultChecks,
  descriptionChecks,
  type EnvironmentOf,
  variableChecks,
} from "./checks-variables.ts";
import type { Ignore } from "./ignore.ts";
import type { Instruction } from "./instruction.ts";
import { quotedWords } from "./lines.ts";
import type { Dockerfile } from "./parse.ts";
import { atOnce, type Slices } from "./slices.ts";
import { nearest, type Range } from "./source.ts";
import type { Plan } from "./stages.ts";

/** One finding and where it is. */
export interface Finding {
  readonly check: RuleName;
  readonly message: string;
  readonly range: Range;
  /** What may have been meant is looked for among these, when the finding is told. */
  readonly near?: {
    readonly word: string;
    readonly known: readonly ReadonlySet<string>[];
    readonly mark: string;
  };
}

/** What some checks need to know beyond the Dockerfile. */
export interface Facts {
  readonly plan?: Plan;
  readonly environmentOf?: EnvironmentOf;
  readonly ignore?: Ignore;
  /** In place of the `# check=` line. */
  readonly directive?: string | undefined;
}

/** Findings that are told; a hostile Dockerfile could have a million. */
const findingsMax = 100;

/** What the checks find, in the order of the lines, without what `# check=skip=…` leaves out. */
export function checkDockerfile(dockerfile: Dockerfile, facts: Facts = {}): Finding[] {
  return atOnce(checking(dockerfile, facts));
}

/** As `checkDockerfile`, for one of any size. */
export function* checking(dockerfile: Dockerfile, facts: Facts): Slices<Finding[]> {
  const directive = facts.directive ?? dockerfile.directives.check ?? "";
  const { skip, experimental } = readCheckDirective(directive);
  if (skip.has("all")) return [];
  const isTold = (name: RuleName) => {
    const key = name.toLowerCase();
    if (skip.has(key)) return false;
    if (!experimentalRules.includes(name)) return true;
    return experimental.has("all") || experimental.has(key);
  };
  const found: Finding[] = [];
  for (const some of findingsOf(dockerfile, facts)) {
    for (const each of some) if (isTold(each.check)) found.push(each);
    yield;
  }
  found.sort((a, b) => a.range.start.line - b.range.start.line);
  yield;
  return found.slice(0, findingsMax).map(suggest);
}

/** Check by check, a few findings at a time. */
function* findingsOf(dockerfile: Dockerfile, facts: Facts): Generator<readonly Finding[]> {
  const { instructions, emptyContinuations } = dockerfile;
  const escaper = dockerfile.directives.escape;
  const { plan, environmentOf, ignore } = facts;
  for (const line of emptyContinuations) yield [emptyContinuation(line)];
  yield casing(instructions);
  for (const each of instructions) yield ofInstruction(each, escaper);
  yield* stageChecks(instructions);
  yield* defaultChecks(dockerfile);
  yield* descriptionChecks(instructions);
  if (plan && environmentOf) yield* variableChecks(plan, environmentOf);
  if (ignore) for (const each of instructions) yield ignoredFiles(each, ignore);
}

/** Looking at more takes time, and a Dockerfile with more is none that a person wrote. */
const namesMax = 100;

function suggest({ near, ...finding }: Finding): Finding {
  if (!near) return finding;
  const known = near.known.flatMap((names) => [...names].slice(0, namesMax));
  const found = nearest(near.word, known);
  if (!found) return finding;
  return { ...finding, message: `${finding.message} (did you mean ${near.mark}${found}?)` };
}

/** A finding as a build tells it: `MaintainerDeprecated: … (line 3)`. */
export function findingText({ check, message, range }: Finding): string {
  return `${check}: ${message} (line ${range.start.line})`;
}

/** @throws Failure "invalid" when `error=true` is asked for and something was found */
export function refuseFindings(
  dockerfile: Dockerfile,
  findings: readonly Finding[],
  directive = dockerfile.directives.check ?? "",
): void {
  if (findings.length === 0 || !readCheckDirective(directive).isError) return;
  const names = [...new Set(findings.map(({ check }) => check))].join(", ");
  const texts = findings.map(findingText).join("\n");
  throw new Failure("invalid", `lint violation found for rules: ${names}\n${texts}`, {
    hint: "Mend these lines, or name the rules in # check=skip=…",
  });
}

function emptyContinuation(line: number): Finding {
  const at = { line, column: 1 };
  const range = { start: at, end: at };
  return { check: "NoEmptyContinuation", message: "Empty continuation line", range };
}

/** What a COPY or ADD wants of the context although `.dockerignore` leaves it out. */
function ignoredFiles(instruction: Instruction, ignore: Ignore): Finding[] {
  if (instruction.kind !== "copy" || instruction.from !== "") return [];
  const { isAdd, sources, range } = instruction;
  const isPlain = (word: string) => !/[$*?[]/.test(word) && !(isAdd && /^\w+:\/\//.test(word));
  return sources.filter(isPlain).flatMap((word): Finding[] => {
    const path = posix.normalize(word).replace(/^\/+|\/+$/g, "");
    if (path === "" || path === "." || !ignore.excludes(path)) return [];
    // An exception below a folder may still bring something.
    if (word.endsWith("/") && !ignore.prunes(path)) return [];
    const verb = isAdd ? "Add" : "Copy";
    const message = `Attempting to ${verb} file "${short(path)}" that is excluded by .dockerignore`;
    return [{ check: "CopyIgnoredFile", message, range }];
  });
}

/** `skip=A,B;error=true`, the value of `# check=`. Names are in lower case. */
export function readCheckDirective(text: string) {
  const options = new Map<string, string>();
  for (const part of text.split(";")) {
    const [key = "", value = ""] = part.split("=", 2);
    options.set(key.trim().toLowerCase(), value.trim().toLowerCase());
  }
  const names = (key: string): ReadonlySet<string> => {
    const all = (options.get(key) ?? "").split(",").map((name) => name.trim());
    return new Set(all.filter((name) => name !== ""));
  };
  return {
    skip: names("skip"),
    experimental: names("experimental"),
    isError: options.get("error") === "true",
  };
}

function keywordOf({ text }: Instruction): string {
  return /^\S+/.exec(text)?.[0] ?? "";
}

function casing(instructions: readonly Instruction[]): Finding[] {
  const words = instructions.map(keywordOf);
  const lower = words.filter((word) => word === word.toLowerCase()).length;
  const upper = words.filter((word) => word === word.toUpperCase()).length;
  const isLower = lower > upper;
  return instructions.flatMap((instruction, index) => {
    const word = words[index]!;
    if (word === (isLower ? word.toLowerCase() : word.toUpperCase())) return [];
    const majority = isLower ? "lowercase" : "uppercase";
    const message = `Command '${word}' should match the case of the command majority (${majority})`;
    return [{ check: "ConsistentInstructionCasing", message, range: instruction.range }];
  });
}

const secretName =
  /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const publicName = /(?:_|^)public(?:_|$)/i;

function ofInstruction(instruction: Instruction, escaper: string): Finding[] {
  const found: Finding[] = [];
  const { range } = instruction;
  const tell: Tell = (check, message) => found.push({ check, message, range });
  const keyword = keywordOf(instruction).toUpperCase();
  if (instruction.kind === "maintainer") {
    tell("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label");
  }
  if (instruction.kind === "env" || instruction.kind === "label") {
    const rest = instruction.text.replace(/^\S+\s+/, "");
    const [first] = quotedWords(rest, escaper);
    if (!first?.word.includes("=")) {
      const message = `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`;
      tell("LegacyKeyValueFormat", message);
    }
  }
  for (const name of variableNames(instruction)) {
    if (!secretName.test(name) || publicName.test(name)) continue;
    const message = `Do not use ARG or ENV instructions for sensitive data (${keyword} "${short(name)}")`;
    tell("SecretsUsedInArgOrEnv", message);
  }
  if (instruction.kind === "expose") {
    for (const word of instruction.words) checkPort(word, tell);
  }
  return found;
}

type Tell = (check: RuleName, message: string) => void;

function variableNames(instruction: Instruction): string[] {
  if (instruction.kind === "env") return instruction.pairs.map(({ name }) => name);
  return instruction.kind === "arg" ? instruction.args.map(({ name }) => name) : [];
}

function checkPort(word: string, tell: Tell): void {
  if (word.includes("$")) return;
  const protocol = /\/([a-z]+)$/i.exec(word)?.[1] ?? "";
  if (protocol !== protocol.toLowerCase()) {
    tell("ExposeProtoCasing", `Defined protocol '${short(word)}' should be lowercase`);
  }
  if (word.includes(":")) {
    const message = `EXPOSE instruction should not define an IP address or host-port mapping, found '${short(word)}'`;
    tell("ExposeInvalidFormat", message);
  }
}

const wordCharsMax = 200;

/** A word of the Dockerfile in a message: never endless. */
function short(word: string): string {
  return word.slice(0, wordCharsMax);
}
