/**
 * The build checks: what is allowed in a Dockerfile and yet most likely not meant. Names and meaning are
 * those of https://docs.docker.com/reference/build-checks/. Pure functions over the parsed Dockerfile;
 * a check that would have to guess what a variable holds stays silent.
 */
import { Failure } from "../base/mod.ts";
import { stageChecks } from "./checks-stages.ts";
import type { Instruction } from "./instruction.ts";
import { splitQuoted } from "./lines.ts";
import type { Dockerfile } from "./parse.ts";

/** One finding; `line` counts from 1. */
export interface Finding {
  readonly check: string;
  readonly message: string;
  readonly line: number;
}

/** Findings that are told; a hostile Dockerfile could have a million. */
const findingsMax = 100;

/** What the checks find, in the order of the lines, without what `# check=skip=…` leaves out. */
export function checkDockerfile(dockerfile: Dockerfile): Finding[] {
  const { skip } = readCheckDirective(dockerfile.directives.check ?? "");
  if (skip.has("all")) return [];
  const { instructions } = dockerfile;
  const escaper = dockerfile.directives.escape;
  return [
    ...casing(instructions),
    ...instructions.flatMap((each) => ofInstruction(each, escaper)),
    ...stageChecks(instructions),
  ]
    .filter(({ check }) => !skip.has(check.toLowerCase()))
    .sort((a, b) => a.line - b.line)
    .slice(0, findingsMax);
}

/** A finding as a build tells it: `MaintainerDeprecated: … (line 3)`. */
export function findingText({ check, message, line }: Finding): string {
  return `${check}: ${message} (line ${line})`;
}

/** @throws Failure "invalid" when `# check=error=true` stands in the file and something was found */
export function refuseFindings(dockerfile: Dockerfile, findings: readonly Finding[]): void {
  if (findings.length === 0) return;
  if (!readCheckDirective(dockerfile.directives.check ?? "").isError) return;
  const names = [...new Set(findings.map(({ check }) => check))].join(", ");
  const texts = findings.map(findingText).join("\n");
  throw new Failure("invalid", `lint violation found for rules: ${names}\n${texts}`, {
    hint: "Mend these lines, or name the rules in # check=skip=…",
  });
}

/** `skip=A,B;error=true`, the value of `# check=`. Names are in lower case. */
export function readCheckDirective(text: string): { skip: ReadonlySet<string>; isError: boolean } {
  const options = new Map<string, string>();
  for (const part of text.split(";")) {
    const [key = "", value = ""] = part.split("=", 2);
    options.set(key.trim().toLowerCase(), value.trim().toLowerCase());
  }
  const skip = (options.get("skip") ?? "").split(",").map((name) => name.trim());
  return {
    skip: new Set(skip.filter((name) => name !== "")),
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
    return [{ check: "ConsistentInstructionCasing", message, line: instruction.range.start.line }];
  });
}

const secretName =
  /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const publicName = /(?:_|^)public(?:_|$)/i;

function ofInstruction(instruction: Instruction, escaper: string): Finding[] {
  const found: Finding[] = [];
  const { line } = instruction.range.start;
  const tell = (check: string, message: string) => found.push({ check, message, line });
  const keyword = keywordOf(instruction).toUpperCase();
  if (instruction.kind === "maintainer") {
    tell("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label");
  }
  if (instruction.kind === "env" || instruction.kind === "label") {
    const rest = instruction.text.replace(/^\S+\s+/, "");
    if (!splitQuoted(rest, escaper)[0]?.word.includes("=")) {
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

function variableNames(instruction: Instruction): string[] {
  if (instruction.kind === "env") return instruction.pairs.map(({ name }) => name);
  return instruction.kind === "arg" ? instruction.args.map(({ name }) => name) : [];
}

function checkPort(word: string, tell: (check: string, message: string) => void): void {
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
