import { mkdir, rm } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { Image } from "../image/mod.ts";
import {
  type Digest,
  digestOf,
  formatImageConfig,
  type Platform,
  parsePlatform,
} from "../oci/mod.ts";
import { emptyState, findImage, stateOf } from "./base-image.ts";
import { checkArgument, checkBuild, foreignSyntax } from "./calls.ts";
import { findingText, refuseFindings } from "./checks.ts";
import { type ConfigureOptions, configure, resolveWorkdir, word } from "./configure.ts";
import type { Context } from "./context.ts";
import { copyStep } from "./copy-step.ts";
import { settleFrom } from "./explain.ts";
import type { Instruction } from "./instruction.ts";
import { type LayerWork, layerStep } from "./layer-step.ts";
import { isTrue } from "./output.ts";
import { parseDockerfile } from "./parse.ts";
import { Places } from "./places.ts";
import { platformArgs } from "./platform.ts";
import type { StepSlot } from "./records.ts";
import {
  type Built,
  type BuiltStage,
  configOf,
  type Material,
  materialOf,
  sortMaterials,
} from "./result.ts";
import { runStep } from "./run-step.ts";
import type { StepScope } from "./scope.ts";
import { inSlices } from "./slices.ts";
import { locate, type Source } from "./source.ts";
import { policyImage } from "./source-policy.ts";
import { nameOfStage, type Plan, planning, type Stage } from "./stages.ts";
import { childOf, keyOf, record, type StageState } from "./state.ts";
import { StepClock } from "./step-clock.ts";
import { Teller } from "./teller.ts";
import { stepTimeMs, type Times, timesOf, withEpoch } from "./times.ts";
import { newId, type Tools, throwIfAborted } from "./tools.ts";
import type { BuildEvent, BuildRequest } from "./types.ts";
import { unusedArgsText } from "./unused-args.ts";
import { forgetIndexes } from "./variables.ts";
import { workdirStep } from "./workdir.ts";

const breathMs = 4;

/**
 * One build: the stages run as tasks that wait for each other; each step finds its layer in the cache
 * or makes it. Disposing of it releases everything of its own.
 */
export class Build implements AsyncDisposable {
  readonly tools: Tools;
  readonly request: BuildRequest;
  readonly context: Context;
  readonly plan: Plan;
  readonly places: Places;
  readonly signal: AbortSignal;
  readonly times: Times;
  /** Keys of the steps that this build used. */
  readonly used: Digest[] = [];
  /** What came from outside, in the order of its coming. */
  readonly materials: Material[] = [];
  readonly #abort = new AbortController();
  #work: string | undefined;
  readonly #tasks = new Map<number, Promise<StageState>>();
  readonly #numbers = new Map<Instruction, number>();
  readonly #pinned: Digest[] = [];
  readonly #past = new Map<Digest, StepSlot["past"]>();
  readonly #report: (event: BuildEvent) => void;
  readonly #teller: Teller;
  readonly #platform: Platform;
  readonly #total: number;
  #breathMs = performance.now();
  #failure: unknown;

  /** @throws Failure "invalid" — the stages make no sense */
  static async open(
    tools: Tools,
    asked: BuildRequest,
    given: { context: Context; report: Build["report"] },
  ): Promise<Build> {
    const request = withEpoch(asked);
    return new Build(tools, request, { ...given, plan: await planOf(given.context, request) });
  }

  private constructor(
    tools: Tools,
    request: BuildRequest,
    given: { context: Context; plan: Plan; report: Build["report"] },
  ) {
    this.tools = tools;
    this.request = request;
    this.context = given.context;
    this.#report = given.report;
    this.times = timesOf(this.request);
    this.#platform = parsePlatform(request.platform);
    this.plan = given.plan;
    this.places = new Places(this);
    this.signal = AbortSignal.any([request.signal, this.#abort.signal]);
    const { globals, stages, used } = this.plan;
    const needed = stages.filter(({ index }) => used.has(index));
    const order = [
      ...globals,
      ...needed.flatMap(({ from, instructions }) => [from, ...instructions]),
    ];
    for (const [index, instruction] of order.entries()) this.#numbers.set(instruction, index + 1);
    this.#total = order.length;
    // A client that orders the steps itself hears of each at once.
    this.#teller = new Teller(given.report, request.isLive ? [] : [...used]);
  }

  /** Tells an event at once. */
  get report(): (event: BuildEvent) => void {
    return this.#report;
  }

  /** Does all steps. What it gives is pinned until the build is disposed of. */
  async run(): Promise<Built> {
    const { plan, context } = this;
    const { dockerfile } = context;
    const { buildArgs } = this.request;
    const checked = { plan, context, images: this.tools.images, buildArgs };
    refuseFindings(dockerfile, await checkBuild(checked), checkArgument(buildArgs));
    const syntax = foreignSyntax(dockerfile, buildArgs);
    if (syntax) this.#report({ kind: "warning", text: syntax });
    this.#tellGlobals();
    for (const stage of this.plan.stages) {
      if (this.plan.used.has(stage.index)) continue;
      const { length } = stage.instructions;
      this.#report({ kind: "skipped", stage: nameOfStage(stage), steps: length + 1 });
    }
    const state = await this.#runStages();
    // After the steps, where they are seen.
    for (const each of await checkBuild(checked)) {
      this.#report({ kind: "warning", text: findingText(each) });
    }
    const built = await this.#finish(state);
    this.tools.cache.touch(this.used);
    this.tools.records.trim();
    return built;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tools.pins.release(this.#pinned);
    if (this.#work) await rm(this.#work, { recursive: true, force: true });
  }

  /** A folder for files on the way; gone when the build ends. */
  async workFolder(): Promise<string> {
    this.#work ??= `${this.tools.directory}/work/${newId()}`;
    await mkdir(this.#work, { recursive: true, mode: 0o700 });
    return this.#work;
  }

  /** The result of another stage, started if it is not yet. */
  stage(index: number): Promise<StageState> {
    const known = this.#tasks.get(index);
    if (known) return known;
    const task = this.#runStage(this.plan.stages[index]!).finally(() => this.#teller.finish(index));
    this.#tasks.set(index, task);
    task.catch((error) => {
      // The first failure is the one to tell; it stops the others.
      this.#failure ??= error;
      this.#abort.abort(error);
    });
    return task;
  }

  /** An image by the name in a Dockerfile. @throws Failure "not_found" in Docker's words */
  async image(name: string, platform = ""): Promise<Image> {
    const taken = policyImage(this.request.sourcePolicy, name);
    const asked = { name: taken, platform, report: this.#report };
    const image = await findImage(this.tools, this.request, asked);
    this.materials.push(materialOf(name, image));
    return image;
  }

  /** Keeps layers from being pruned until the build has ended. */
  pin(layers: readonly Digest[]): void {
    this.#pinned.push(...layers);
    this.tools.pins.add(layers);
  }

  #tellGlobals(): void {
    for (const instruction of this.plan.globals) {
      const number = this.#numbers.get(instruction)!;
      this.#report({ kind: "step", number, total: this.#total, text: instruction.text, stage: "" });
      this.#report({ kind: "done", number, id: shortId(keyOf("global", instruction.text)) });
    }
  }

  async #runStages(): Promise<StageState> {
    const tasks = [...this.plan.used].sort((a, b) => a - b).map((index) => this.stage(index));
    await Promise.allSettled(tasks);
    await Promise.allSettled(this.#tasks.values()); // and those that triggers asked for
    this.#teller.end();
    if (this.#failure !== undefined) {
      throwIfAborted(this.request.signal);
      throw this.#failure;
    }
    return await this.stage(this.plan.target.index);
  }

  async #runStage(stage: Stage): Promise<StageState> {
    const { source } = this.context.dockerfile;
    const scope = (instruction: Instruction) => ({ stage, instruction, source });
    const state = await this.#step(scope(stage.from), async (step) => {
      const begun = await this.#start(stage);
      await settleFrom(step(begun), stage);
      return begun;
    });
    const triggers = state.config.OnBuild ?? [];
    delete state.config.OnBuild;
    const number = this.#numbers.get(stage.from) ?? this.#total;
    if (triggers.length > 0) {
      const plural = triggers.length === 1 ? "" : "s";
      const bytes = Buffer.from(`# Executing ${triggers.length} build trigger${plural}\n`);
      this.#teller.tell(stage.index, { kind: "output", number, stream: 1, bytes });
    }
    for (const trigger of triggers) {
      const parsed = parseDockerfile(trigger, `ONBUILD of ${stage.image}`);
      for (const instruction of parsed.instructions) {
        const at = { stage, instruction, source: parsed.source, number };
        await this.#step(at, async (step) => await this.#carryOut(instruction, step(state)));
      }
    }
    for (const instruction of stage.instructions) {
      await this.#step(scope(instruction), async (step) => {
        await this.#carryOut(instruction, step(state));
        return state;
      });
    }
    forgetIndexes(state);
    return state;
  }

  /** Steps that wait for nothing follow on each other: the daemon's other work comes between. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathMs < breathMs) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#breathMs = performance.now();
  }

  /** Tells that an instruction begins and ends, and puts its place into its errors. */
  async #step<T>(
    at: { stage: Stage; instruction: Instruction; source: Source; number?: number },
    work: (scope: (state: StageState) => StepScope) => Promise<T>,
  ): Promise<T> {
    const { stage, instruction, source } = at;
    const number = at.number ?? this.#numbers.get(instruction) ?? this.#total;
    const tell = (event: BuildEvent) => this.#teller.tell(stage.index, event);
    await this.#breathe();
    throwIfAborted(this.signal);
    const isTrigger = at.number !== undefined;
    const clock = new StepClock(number, isTrigger ? () => {} : tell);
    const { text } = instruction;
    if (!isTrigger) {
      const stageName = nameOfStage(stage);
      tell({ kind: "step", number, total: this.#total, text, stage: stageName });
    }
    try {
      const result = await work((state) => ({
        build: this,
        stage,
        state,
        number,
        place: { file: source.name, line: instruction.range.start.line, text: instruction.text },
        instruction,
        slot: isTrigger ? undefined : this.#slot(stage, state, number),
        forced: this.#forced(stage),
        options: this.#configureOptions(),
        cached: () => {
          if (!isTrigger) tell({ kind: "cached", number });
          clock.settle("cached", []);
        },
        settle: (outcome, reasons) => clock.settle(outcome, reasons),
        output: (stream, bytes) => tell({ kind: "output", number, stream, bytes }),
        warn: (text) => tell({ kind: "warning", text }),
      }));
      // The last step's id is the image's, which is not known yet.
      const last = this.plan.target.instructions.at(-1) ?? this.plan.target.from;
      const isLast = instruction === last;
      const id = (result as StageState | undefined)?.trail ?? "";
      clock.end();
      if (!isTrigger && !isLast) tell({ kind: "done", number, id: shortId(id) });
      return result;
    } catch (error) {
      clock.fail(this.signal.aborted);
      throw locate(error, source, instruction.range);
    }
  }

  #slot(stage: Stage, state: StageState, number: number): StepSlot {
    const [tag = ""] = this.request.tags;
    const project = this.request.project ?? tag.replace(/:[^/]*$/, "");
    const ordinal = number - this.#numbers.get(stage.from)!;
    const key = keyOf("stage", project, nameOfStage(stage), state.platform);
    const past = this.#past.get(key) ?? this.tools.records.past(key);
    this.#past.set(key, past);
    return { stage: key, ordinal, past };
  }

  /** The flag by which a stage is built without the cache. */
  #forced({ name, index }: Stage): string | undefined {
    if (this.request.noCache) return "--no-cache";
    const wanted = (this.request.noCacheFilter ?? []).map((each) => each.toLowerCase());
    return wanted.includes(name) || wanted.includes(String(index))
      ? "--no-cache-filter"
      : undefined;
  }

  #configureOptions(): ConfigureOptions {
    return {
      escape: this.context.dockerfile.directives.escape,
      buildArgs: this.request.buildArgs,
      globalArgs: this.plan.globalArgs,
      platformArgs: platformArgs(this.#platform),
    };
  }

  /** The state that a FROM begins with. */
  async #start(stage: Stage): Promise<StageState> {
    const platform = stage.platform === "" ? this.#platform : parsePlatform(stage.platform);
    if (stage.base !== undefined) return childOf(await this.stage(stage.base), platform);
    const { context } = stage;
    if (context?.kind === "folder" || context?.kind === "address") {
      return await this.#startFrom(stage, platform);
    }
    if (stage.image === "scratch" && !context) return emptyState(platform, this.times);
    const image = context
      ? await this.places.image(context, stage.platform)
      : await this.places.named(stage.image, stage.platform);
    this.pin(image.config.rootfs.diff_ids);
    return stateOf(image, this.times);
  }

  /** A folder in place of an image: its files on nothing. */
  async #startFrom(stage: Stage, platform: Platform): Promise<StageState> {
    const state = emptyState(platform, this.times);
    const { source } = this.context.dockerfile;
    const { instructions } = parseDockerfile(`COPY --from=${stage.image} / /`, source.name);
    const at = { stage, instruction: { ...instructions[0]!, range: stage.from.range }, source };
    await this.#step({ ...at, number: this.#numbers.get(stage.from)! }, async (step) => {
      await this.#carryOut(at.instruction, step(state));
    });
    return state;
  }

  async #carryOut(instruction: Instruction, scope: StepScope): Promise<void> {
    const { state } = scope;
    switch (instruction.kind) {
      case "from":
        throw new Failure("invalid", "FROM isn't allowed as an ONBUILD trigger");
      case "run":
        return await this.#layer(scope, await runStep(instruction, scope));
      case "copy":
        return await this.#layer(scope, await copyStep(instruction, scope));
      case "workdir": {
        state.config.WorkingDir = resolveWorkdir(
          state,
          word(state, instruction.path, scope.options),
        );
        return await this.#layer(scope, workdirStep(scope));
      }
      default:
        return this.#configured(configure(state, instruction, scope.options), scope);
    }
  }

  #configured(text: string, { state, cached, forced }: StepScope): void {
    const { cache } = this.tools;
    state.trail = keyOf(state.trail, text);
    const known = forced === undefined ? cache.find(state.trail) : undefined;
    const createdMs = this.#stepTimeMs(state, known?.createdMs);
    if (known) cached();
    else cache.put({ key: state.trail, layer: undefined, description: text, createdMs });
    this.used.push(state.trail);
    record(state, { text, createdMs, withLayer: false });
  }

  async #layer(scope: StepScope, work: LayerWork): Promise<void> {
    const { state } = scope;
    const step = await layerStep(scope, work);
    state.key = work.isLinked ? keyOf(state.key, "link", step.key) : step.key;
    state.trail = keyOf(state.trail, step.key);
    if (step.layer) state.made.set(state.layers.push(step.layer) - 1, scope.place);
    this.used.push(step.key);
    record(state, {
      text: work.history,
      createdMs: this.#stepTimeMs(state, step.createdMs),
      withLayer: step.layer !== undefined,
    });
  }

  /** When the history says that a step was done. `knownMs`: what the cache says, for kept times. */
  #stepTimeMs(state: StageState, knownMs: number | undefined): number {
    if (this.times.kept && knownMs !== undefined) return knownMs;
    return stepTimeMs(this.times, state.baseMs);
  }

  /** The `created` of all base images. */
  async #baseTimes(): Promise<number[]> {
    return (await Promise.all(this.#tasks.values())).map(({ baseMs }) => baseMs);
  }

  /** A stage as the result tells of it. `BUILDKIT_SBOM_SCAN_STAGE` is true, or names stages. */
  #built(at: number, { layers, made, args }: StageState, target: StageState): BuiltStage {
    const name = this.plan.stages[at]!.name || String(at);
    const arg = "BUILDKIT_SBOM_SCAN_STAGE";
    const wish = args.get(arg) ?? this.plan.globalArgs.get(arg) ?? this.request.buildArgs[arg];
    const isScanned = isTrue(wish) || (wish ?? "").split(",").includes(name);
    const isTarget = layers === target.layers;
    return { layers, made, ...(isScanned && !isTarget ? { scannedAs: name } : {}) };
  }

  async #finish(state: StageState): Promise<Built> {
    throwIfAborted(this.request.signal);
    const unused = unusedArgsText(this.plan, this.request.buildArgs);
    if (unused !== "") this.#report({ kind: "warning", text: unused });
    const { labels } = this.request;
    const same = Object.keys(labels).length === 0 ? state.base : undefined;
    const config = same
      ? this.tools.images.resolve(same).config
      : configOf(state, { labels, times: this.times, bases: await this.#baseTimes() });
    const id = same ?? digestOf(formatImageConfig(config));
    const last = this.plan.target.instructions.at(-1) ?? this.plan.target.from;
    this.#report({ kind: "done", number: this.#numbers.get(last)!, id: shortId(id) });
    const stages = await Promise.all(
      [...this.#tasks]
        .sort(([a], [b]) => a - b)
        .map(async ([at, task]) => this.#built(at, await task, state)),
    );
    const { platform, timeMax, made, layers } = state;
    const baseLayers = Math.min(layers.length, ...made.keys());
    const about = {
      platform,
      timeMax,
      baseLayers,
      materials: sortMaterials(this.materials),
      keys: this.used,
    };
    const scan = this.plan.globalArgs.get(contextArg) ?? this.request.buildArgs[contextArg];
    return { ...about, config, id, same, stages, scansContext: isTrue(scan) };
  }
}

const contextArg = "BUILDKIT_SBOM_SCAN_CONTEXT";

/** The stages of a context's Dockerfile as a request wants them. @throws Failure "invalid" */
export async function planOf({ dockerfile }: Context, request: BuildRequest): Promise<Plan> {
  const options = {
    buildArgs: request.buildArgs,
    platformArgs: platformArgs(parsePlatform(request.platform)),
    target: request.target,
    contexts: request.contexts,
  };
  return await inSlices(planning(dockerfile, options));
}

/** The twelve digits that classic clients show. */
function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}
