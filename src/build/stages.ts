import { Failure, limits } from "../base/mod.ts";
import { expand, type Lookup } from "./expand.ts";
import type { Action, FromInstruction, Instruction } from "./instruction.ts";
import { contextFinder, type NamedContext } from "./named-context.ts";
import type { Dockerfile } from "./parse.ts";
import { atOnce, type Slices } from "./slices.ts";
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
  /** What the client gave in place of the image. */
  readonly context: NamedContext | undefined;
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
  readonly contexts?: ReadonlyMap<string, NamedContext> | undefined;
}

/** Groups instructions into stages and finds which are needed. @throws Failure "invalid" */
export function plan(dockerfile: Dockerfile, options: PlanOptions): Plan {
  return atOnce(planning(dockerfile, options));
}

/** As `plan`, for a Dockerfile of any size. */
export function* planning(dockerfile: Dockerfile, options: PlanOptions): Slices<Plan> {
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
  yield;
  const stages = yield* readStages(dockerfile, instructions.slice(first), globalArgs, options);
  const target = findTarget(stages, options.target);
  const used = yield* findUsed(dockerfile, {
    stages,
    target,
    find: contextFinder(options.contexts),
  });
  return { dockerfile, globals, globalArgs, stages, target, used };
}

/** An earlier stage by name (the last one of that name) or number; undefined: it is an image. */
export function findStage(
  stages: readonly Stage[],
  reference: string,
  before: number,
): number | undefined {
  const named = numbersOf(stages)
    .get(reference.toLowerCase())
    ?.findLast((index) => index < before);
  if (named !== undefined) return named;
  return /^\d{1,4}$/.test(reference) && Number(reference) < before ? Number(reference) : undefined;
}

const numbers = new WeakMap<readonly Stage[], Map<string, number[]>>();

/** The numbers of the stages of each name; made once for a list that grows no more. */
function numbersOf(stages: readonly Stage[]): ReadonlyMap<string, readonly number[]> {
  const known = numbers.get(stages);
  if (known) return known;
  const byName = new Map<string, number[]>();
  for (const { name, index } of stages) if (name !== "") addNumber(byName, name, index);
  numbers.set(stages, byName);
  return byName;
}

function addNumber(byName: Map<string, number[]>, name: string, index: number): void {
  const list = byName.get(name);
  if (list) list.push(index);
  else byName.set(name, [index]);
}

/** The stages that one action reads from, by what is written. */
export function sourcesOf(action: Action): string[] {
  if (action.kind === "copy") return action.from === "" ? [] : [action.from];
  if (action.kind !== "run") return [];
  return action.mounts.flatMap(({ options }) => options["from"] ?? []);
}

/** A stage that `--from` names: an earlier one, else a later one by its name. */
export function findSource(
  stages: readonly Stage[],
  reference: string,
  at: number,
): number | undefined {
  const earlier = findStage(stages, reference, at);
  if (earlier !== undefined) return earlier;
  return numbersOf(stages)
    .get(reference.toLowerCase())
    ?.find((index) => index >= at);
}

interface Search {
  readonly stages: readonly Stage[];
  readonly target: Stage;
  readonly find: (reference: string) => NamedContext | undefined;
}

/** The stages that the target needs. @throws Failure "invalid" — one needs itself */
function* findUsed({ source }: Dockerfile, { stages, target, find }: Search): Slices<Set<number>> {
  const done = new Set<number>();
  const open = new Set<number>([target.index]);
  // No recursion: thousands of stages may stand on each other.
  const path = [{ stage: target, rest: needs(target, { stages, find }) }];
  while (path.length > 0) {
    yield;
    const { stage, rest } = path.at(-1)!;
    const next = rest.pop();
    if (!next) {
      open.delete(stage.index);
      done.add(stage.index);
      path.pop();
    } else if (open.has(next.index)) {
      const name = stages[next.index]!.name || String(next.index);
      const problem = `circular dependency detected on stage: ${name}`;
      throw parseFailure(source, next.range, problem, "No stage may need what needs it");
    } else if (!done.has(next.index)) {
      open.add(next.index);
      const needed = stages[next.index]!;
      path.push({ stage: needed, rest: needs(needed, { stages, find }) });
    }
  }
  return done;
}

/** The stages that one reads from, and where it says so. */
function needs(stage: Stage, { stages, find }: Omit<Search, "target">) {
  const own = stage.base === undefined ? [] : [{ index: stage.base, range: stage.from.range }];
  const others = stage.instructions.flatMap((instruction) =>
    sourcesOf(instruction).flatMap((reference) => {
      const context = find(reference);
      if (context && context.kind !== "stage") return [];
      const index = findSource(stages, context?.name ?? reference, stage.index);
      return index === undefined ? [] : [{ index, range: instruction.range }];
    }),
  );
  return [...own, ...others];
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

function* readStages(
  dockerfile: Dockerfile,
  instructions: readonly Instruction[],
  globalArgs: ReadonlyMap<string, string>,
  { platformArgs, contexts }: PlanOptions,
): Slices<Stage[]> {
  const find = contextFinder(contexts);
  const byName = new Map<string, number[]>();
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  numbers.set(stages, byName); // grows with the list
  const lookup: Lookup = (name) => globalArgs.get(name) ?? platformArgs[name];
  const options = { escape: dockerfile.directives.escape, lookup };
  for (const instruction of instructions) {
    yield;
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
    const context = find(image);
    const base =
      context && context.kind !== "stage"
        ? undefined
        : findStage(stages, context?.name ?? image, index);
    if (context?.kind === "stage" && base === undefined) {
      throw refuse(`there is no earlier stage "${context.name}"`);
    }
    const { name } = instruction;
    const stage = { index, name, from: instruction, image, platform, base, context };
    stages.push({ ...stage, instructions: [] });
    if (name !== "") addNumber(byName, name, index);
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
