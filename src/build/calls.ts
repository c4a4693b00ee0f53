/**
 * What can be asked of a Dockerfile without building it: `--call=check`, `outline` and `targets`. The
 * answers have the fields of BuildKit's, for programs that read those.
 */
import { Failure } from "../base/mod.ts";
import type { ImageStore } from "../image/mod.ts";
import { checking, type Finding } from "./checks.ts";
import { rules, ruleUrl } from "./checks-rules.ts";
import { descriptionOf, type EnvironmentOf } from "./checks-variables.ts";
import type { Context } from "./context.ts";
import type { Instruction, MountFlag } from "./instruction.ts";
import type { Dockerfile } from "./parse.ts";
import { inSlices } from "./slices.ts";
import type { Range } from "./source.ts";
import type { Plan, Stage } from "./stages.ts";
import type { BuildCall } from "./types.ts";

interface Asked {
  readonly plan: Plan | undefined;
  readonly context: Context;
  readonly images: ImageStore;
  readonly buildArgs: Readonly<Record<string, string | null>>;
}

/**
 * The answer to a call, as plain data. A check of what cannot be built tells why beside its findings.
 * @throws Failure "invalid" — `plan` failed, and the call needs it
 */
export async function answerCall(
  call: BuildCall,
  asked: Omit<Asked, "plan"> & { readonly plan: () => Promise<Plan> },
): Promise<object> {
  const sources = sourcesOf(asked.context);
  if (call === "targets") return { targets: targetsOf(await asked.plan()), sources };
  if (call === "outline") return { ...outlineOf({ ...asked, plan: await asked.plan() }), sources };
  let plan: Plan | undefined;
  let failed: object = {};
  try {
    plan = await asked.plan();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    failed = { buildError: { message: error.message } };
  }
  const found = await checkBuild({ ...asked, plan });
  return { warnings: found.map(warningOf), sources, ...failed };
}

/** All findings, with what this engine's images and the context's ignore file add. */
export async function checkBuild({ plan, context, images, buildArgs }: Asked): Promise<Finding[]> {
  const facts = {
    ...(plan ? { plan, environmentOf: environmentIn(images) } : {}),
    ignore: context.ignore,
    directive: checkArgument(buildArgs),
  };
  return await inSlices(checking(context.dockerfile, facts));
}

/** The build argument that goes before a Dockerfile's own `# check=`. */
export function checkArgument(buildArgs: Asked["buildArgs"]): string | undefined {
  return buildArgs["BUILDKIT_DOCKERFILE_CHECK"] ?? undefined;
}

/** What to say of a `# syntax=` that is not Docker's own Dockerfile: it is not run. */
export function foreignSyntax(
  { directives }: Dockerfile,
  buildArgs: Asked["buildArgs"],
): string | undefined {
  const syntax = buildArgs["BUILDKIT_SYNTAX"] || directives.syntax || "";
  if (syntax === "" || /^(docker\.io\/)?docker\/dockerfile(-upstream)?([:@]|$)/.test(syntax))
    return;
  return `The syntax image ${syntax.slice(0, 200)} is not run: the Dockerfile is read as Docker's own language`;
}

/** The variables of base images that are here. */
function environmentIn(images: ImageStore): EnvironmentOf {
  return ({ image, context }) => {
    if (context?.kind === "layout" || context?.kind === "result") return undefined;
    const isBare = context ? context.kind !== "image" : image === "scratch";
    if (isBare) return ["PATH"];
    const name = context?.kind === "image" ? context.reference : image;
    const found = images.find(name);
    if (!found) return undefined;
    const names = (found.config.config?.Env ?? []).map((entry) => entry.split("=", 1)[0]!);
    return ["PATH", ...names];
  };
}

function sourcesOf({ dockerfile }: Context): object[] {
  const { name, lines } = dockerfile.source;
  const data = Buffer.from(lines.join("\n")).toString("base64");
  return [{ fileName: name, language: "Dockerfile", data }];
}

function locationOf({ start, end }: Range): object {
  return { ranges: [{ start: { line: start.line }, end: { line: end.line } }] };
}

function warningOf({ check, message, range }: Finding): object {
  const location = locationOf(range);
  return {
    ruleName: check,
    description: rules[check],
    url: ruleUrl(check),
    detail: message,
    location,
  };
}

function targetsOf({ stages, target }: Plan): object[] {
  return stages.map((stage) => {
    const { name, from, image, platform } = stage;
    const description = descriptionOf(from.comments, name);
    return {
      ...(name === "" ? {} : { name }),
      ...(stage.index === stages.length - 1 || stage === target
        ? { default: stage === target }
        : {}),
      ...(description === "" ? {} : { description }),
      base: stage.base === undefined ? image : stages[stage.base]!.name || image,
      ...(platform === "" ? {} : { platform }),
      location: locationOf(from.range),
    };
  });
}

type Planned = Pick<Asked, "buildArgs"> & { readonly plan: Plan };

/** What a build of the target can be given. */
function outlineOf({ plan, buildArgs }: Planned): object {
  const { target } = plan;
  const used = plan.stages.filter(({ index }) => plan.used.has(index));
  const all = [...plan.globals, ...used.flatMap(({ instructions }) => instructions)];
  const mounts = used.flatMap(mountsOf);
  const description = descriptionOf(target.from.comments, target.name);
  return {
    ...(target.name === "" ? {} : { name: target.name }),
    ...(description === "" ? {} : { description }),
    args: argumentsOf(all, { plan, buildArgs }),
    secrets: namesOf(mounts, "secret"),
    ssh: namesOf(mounts, "ssh"),
    cache: mounts
      .filter(({ flag }) => flag.type === "cache")
      .map(({ flag, range }) => {
        return { ID: flag.options["id"] ?? flag.options["target"], location: locationOf(range) };
      }),
  };
}

function argumentsOf(instructions: readonly Instruction[], { plan, buildArgs }: Planned): object[] {
  const found = new Map<string, object>();
  for (const instruction of instructions) {
    if (instruction.kind !== "arg") continue;
    for (const { name, value: written } of instruction.args) {
      if (found.has(name)) continue;
      const value = buildArgs[name] ?? written ?? plan.globalArgs.get(name) ?? "";
      const description = descriptionOf(instruction.comments, name);
      found.set(name, {
        name,
        ...(description === "" ? {} : { description }),
        ...(value === "" ? {} : { value }),
        location: locationOf(instruction.range),
      });
    }
  }
  return [...found.values()];
}

interface Mounted {
  readonly flag: MountFlag;
  readonly range: Range;
}

function mountsOf({ instructions }: Stage): Mounted[] {
  return instructions.flatMap((instruction) =>
    instruction.kind === "run"
      ? instruction.mounts.map((flag) => ({ flag, range: instruction.range }))
      : [],
  );
}

function namesOf(mounts: readonly Mounted[], type: "secret" | "ssh"): object[] {
  const found = new Map<string, { name: string; required: boolean; location: object }>();
  for (const { flag, range } of mounts) {
    if (flag.type !== type) continue;
    const { id, target, required = "false" } = flag.options;
    const name = id ?? (type === "ssh" ? "default" : (target ?? "").split("/").at(-1)!);
    const isRequired = required !== "false" || found.get(name)?.required === true;
    const location = found.get(name)?.location ?? locationOf(range);
    found.set(name, { name, required: isRequired, location });
  }
  return [...found.values()].map(({ required, ...rest }) => {
    return required ? { ...rest, required } : rest;
  });
}
