/** The build checks that look at stages: FROM lines, and what one stage holds as a whole. */
import type { Finding } from "./checks.ts";
import type { FromInstruction, Instruction } from "./instruction.ts";
import { platformArgs } from "./platform.ts";

type From = FromInstruction & Instruction;

interface Part {
  readonly from: From;
  readonly instructions: readonly Instruction[];
}

/** In the order of the stages. */
export function* stageChecks(instructions: readonly Instruction[]): Generator<readonly Finding[]> {
  const first = instructions.findIndex(({ kind }) => kind === "from");
  const globals = new Set(Object.keys(platformArgs({ os: "linux", architecture: "amd64" })));
  for (const each of instructions.slice(0, Math.max(0, first))) {
    if (each.kind === "arg") for (const { name } of each.args) globals.add(name);
  }
  const seen = new Set<string>();
  const rooted = new Set<string>();
  for (const part of partsOf(instructions)) {
    yield ofFrom(part.from, globals);
    yield ofName(part.from, seen);
    yield ofCommands(part);
    yield ofWorkdirs(part, rooted);
  }
}

function partsOf(instructions: readonly Instruction[]): Part[] {
  const parts: { from: From; instructions: Instruction[] }[] = [];
  for (const each of instructions) {
    if (each.kind === "from") parts.push({ from: each, instructions: [] });
    else parts.at(-1)?.instructions.push(each);
  }
  return parts;
}

function ofFrom(from: From, declared: ReadonlySet<string>): Finding[] {
  const { range } = from;
  const found: Finding[] = [];
  const names = [...`${from.image} ${from.platform}`.matchAll(/\\.|\$\{?(\w+)/g)];
  for (const [, name] of names) {
    if (name === undefined || declared.has(name)) continue;
    const message = `FROM argument '${name.slice(0, 200)}' is not declared`;
    const near = { word: name, known: [declared], mark: "" };
    found.push({ check: "UndefinedArgInFrom", message, range, near });
  }
  const platform = from.platform;
  if (platform === "$TARGETPLATFORM" || platform === "${TARGETPLATFORM}") {
    const message = `Setting platform to predefined ${platform} in FROM is redundant as this is the default behavior`;
    found.push({ check: "RedundantTargetPlatform", message, range });
  }
  // A stage that is named after its platform is one of several, on purpose.
  const isNamedAfter = platform.split("/").some((word) => word !== "" && from.name.includes(word));
  if (platform !== "" && !platform.includes("$") && !isNamedAfter) {
    const message = `FROM --platform flag should not use constant value "${platform.slice(0, 200)}"`;
    found.push({ check: "FromPlatformFlagConstDisallowed", message, range });
  }
  return found;
}

function ofName(from: From, seen: Set<string>): Finding[] {
  if (from.name === "") return [];
  const { range } = from;
  const found: Finding[] = [];
  const words = from.text.split(/\s+/);
  const [keyword = "", as = "", name = ""] = [words[0], words.at(-2), words.at(-1)];
  if (name !== from.name) {
    const message = `Stage name '${name.slice(0, 200)}' should be lowercase`;
    found.push({ check: "StageNameCasing", message, range });
  }
  const isLower = (word: string) => word === word.toLowerCase();
  const isUpper = (word: string) => word === word.toUpperCase();
  if ((isLower(keyword) && !isLower(as)) || (isUpper(keyword) && !isUpper(as))) {
    const message = `'${as}' and '${keyword}' keywords' casing do not match`;
    found.push({ check: "FromAsCasing", message, range });
  }
  if (from.name === "scratch" || from.name === "context") {
    const message = `Stage name should not use the same name as reserved stage "${from.name}"`;
    found.push({ check: "ReservedStageName", message, range });
  }
  if (seen.has(from.name)) {
    const message = `Duplicate stage name "${from.name.slice(0, 200)}", stage names should be unique`;
    found.push({ check: "DuplicateStageName", message, range });
  }
  seen.add(from.name);
  return found;
}

function ofCommands({ instructions }: Part): Finding[] {
  const found: Finding[] = [];
  const last = new Map<string, Instruction>();
  let hasShell = false;
  for (const each of instructions) {
    const { kind } = each;
    if (kind === "shell") hasShell = true;
    if (kind !== "cmd" && kind !== "entrypoint" && kind !== "healthcheck") continue;
    const word = kind.toUpperCase();
    const earlier = last.get(kind);
    if (earlier) {
      const message = `Multiple ${word} instructions should not be used in the same stage because only the last one will be used`;
      found.push({ check: "MultipleInstructionsDisallowed", message, range: earlier.range });
    }
    last.set(kind, each);
    // Whoever sets SHELL wants the shell form.
    if (kind === "healthcheck" || each.command.form === "exec" || hasShell) continue;
    const message = `JSON arguments recommended for ${word} to prevent unintended behavior related to OS signals`;
    found.push({ check: "JSONArgsRecommended", message, range: each.range });
  }
  return found;
}

/** `rooted` holds the stages, by name, whose working directory the Dockerfile has made known. */
function ofWorkdirs({ from, instructions }: Part, rooted: Set<string>): Finding[] {
  const found: Finding[] = [];
  // What a variable names cannot be told here: nothing is said of it.
  let isKnown = from.image.includes("$") || rooted.has(from.image.toLowerCase());
  for (const each of instructions) {
    if (each.kind !== "workdir") continue;
    const path = each.path.replace(/^["']/, "");
    if (/^([/\\$]|[a-z]:)/i.test(path)) isKnown = true;
    if (isKnown) continue;
    const message = `Relative workdir "${each.path.slice(0, 200)}" can have unexpected results if the base image changes`;
    found.push({ check: "WorkdirRelativePath", message, range: each.range });
  }
  if (isKnown && from.name !== "") rooted.add(from.name);
  return found;
}
