import { Failure, limits } from "../base/mod.ts";
import { expand, type Lookup } from "./expand.ts";
import type { Action, FromInstruction, Instruction } from "./instruction.ts";
import type { Dockerfile } from "./parse.ts";
import { locate, nearest, parseFailure } from "./source.ts";

/** One FROM and what follows it. */
export interface Stage {
  readonly index: number;
  /** Lower case; "" without AS. */
  readonly name: string;
  readonly from: FromInstruction & Instruction;
  /** The image's name, variables expanded; the `base` stage's name when that is set. */
  readonly image: string;
  readonly platform: string;
  /** Index of the earlier stage that this one stands on. */
  readonly base: number | undefined;
  readonly instructions: readonly Instruction[];
}

/** How people call a stage: its name, else its number. */
export function nameOfStage({ name, index }: Stage): string {
  return name === "" ? String(index) : name;
}

/** What is to be built: the stages, the one that is asked for, and those that it needs. */
export interface Plan {
  readonly dockerfile: Dockerfile;
  readonly globals: readonly Instruction[];
  readonly globalArgs: ReadonlyMap<string, string>;
  readonly stages: readonly Stage[];
  readonly target: Stage;
  readonly used: ReadonlySet<number>;
}

interface PlanOptions {
  readonly buildArgs: Readonly<Record<string, string | null>>;
  readonly platformArgs: Readonly<Record<string, string>>;
  readonly target: string;
}

/** Groups instructions into stages and finds which are needed. @throws Failure "invalid" */
export function plan(dockerfile: Dockerfile, options: PlanOptions): Plan {
  const { source, instructions } = dockerfile;
  if (instructions.length === 0) {
    const range = { start: { line: 1, column: 1 }, end: { line: 1, column: 1 } };
    throw parseFailure(source, range, "file with no instructions", "Start with FROM image");
  }
  const first = instructions.findIndex(({ kind }) => kind === "from");
  const globals = first < 0 ? instructions : instructions.slice(0, first);
  const stray = globals.find(({ kind }) => kind !== "arg");
  if (stray || first < 0) {
    const { range } = stray ?? instructions.at(-1)!;
    const hint = "Only ARG may stand before the first FROM";
    throw parseFailure(source, range, "no build stage in current context", hint);
  }
  const globalArgs = readGlobals(dockerfile, globals, options);
  const stages = readStages(dockerfile, instructions.slice(first), globalArgs, options);
  const target = findTarget(stages, options.target);
  const used = new Set<number>();
  const visit = (index: number) => {
    if (used.has(index)) return;
    used.add(index);
    for (const needed of needs(stages, stages[index]!)) visit(needed);
  };
  visit(target.index);
  return { dockerfile, globals, globalArgs, stages, target, used };
}

/** An earlier stage by name (the last one of that name) or number; undefined: it is an image. */
export function findStage(
  stages: readonly Stage[],
  reference: string,
  before: number,
): number | undefined {
  const name = reference.toLowerCase();
  const earlier = stages.slice(0, before);
  const named = earlier.findLast((stage) => stage.name !== "" && stage.name === name);
  if (named) return named.index;
  return /^\d{1,4}$/.test(reference) && Number(reference) < before ? Number(reference) : undefined;
}

/** The stages that one action reads from, by what is written. */
export function sourcesOf(action: Action): string[] {
  if (action.kind === "copy") return action.from === "" ? [] : [action.from];
  if (action.kind !== "run") return [];
  return action.mounts.flatMap(({ options }) => options["from"] ?? []);
}

function needs(stages: readonly Stage[], stage: Stage): number[] {
  const references = stage.instructions.flatMap(sourcesOf);
  const found = references.map((reference) => findStage(stages, reference, stage.index));
  return [stage.base, ...found].filter((index) => index !== undefined);
}

function readGlobals(
  { source, directives }: Dockerfile,
  globals: readonly Instruction[],
  { buildArgs, platformArgs }: PlanOptions,
): Map<string, string> {
  const values = new Map<string, string>();
  const lookup: Lookup = (name) => values.get(name) ?? platformArgs[name];
  let length = 0;
  for (const instruction of globals) {
    if (instruction.kind !== "arg") continue;
    for (const { name, value } of instruction.args) {
      const given = buildArgs[name];
      const written = value === undefined ? platformArgs[name] : value;
      if (typeof given === "string") values.set(name, given);
      else if (written !== undefined) {
        try {
          const { text } = expand(written, { escape: directives.escape, lookup });
          length += text.length;
          if (length > limits.configBytesMax) {
            throw new Failure("exhausted", "the arguments before FROM grow too large");
          }
          values.set(name, text);
        } catch (error) {
          throw locate(error, source, instruction.range);
        }
      }
    }
  }
  return values;
}

function readStages(
  dockerfile: Dockerfile,
  instructions: readonly Instruction[],
  globalArgs: ReadonlyMap<string, string>,
  { platformArgs }: PlanOptions,
): Stage[] {
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  const lookup: Lookup = (name) => globalArgs.get(name) ?? platformArgs[name];
  const options = { escape: dockerfile.directives.escape, lookup };
  for (const instruction of instructions) {
    if (instruction.kind !== "from") {
      stages.at(-1)!.instructions.push(instruction);
      continue;
    }
    const refuse = (problem: string, hint?: string) =>
      parseFailure(dockerfile.source, instruction.range, problem, hint);
    let image: string;
    let platform: string;
    try {
      image = expand(instruction.image, options).text;
      platform = expand(instruction.platform, options).text;
    } catch (error) {
      throw locate(error, dockerfile.source, instruction.range);
    }
    if (image === "") {
      const problem = `base name (${instruction.image}) should not be blank`;
      throw refuse(
        problem,
        "An ARG for FROM needs a default, or --build-arg, before the first FROM",
      );
    }
    const index = stages.length;
    const base = findStage(stages, image, index);
    const { name } = instruction;
    stages.push({ index, name, from: instruction, image, platform, base, instructions: [] });
  }
  return stages;
}

function findTarget(stages: readonly Stage[], wanted: string): Stage {
  if (wanted === "") return stages.at(-1)!;
  const index = findStage(stages, wanted, stages.length);
  if (index !== undefined) return stages[index]!;
  const names = stages.map(({ name }) => name).filter((name) => name !== "");
  const near = nearest(wanted, names);
  const hint = near ? `Did you mean ${near}?` : `Stages are ${names.join(", ") || "not named"}`;
  throw new Failure("invalid", `target stage "${wanted}" could not be found`, { hint });
}
