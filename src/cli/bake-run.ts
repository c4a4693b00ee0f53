/** Several builds at once, for `bake` and for `build` with several targets: run, and shown together. */
import type { BuildEventMessage, ProgressMessage } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { type PlacedOutput, receive } from "./build-outputs.ts";
import { answering } from "./build-pieces.ts";
import { type BuildShow, liveView } from "./build-progress.ts";
import { type BuildFlags, needsOf, prepareBuild } from "./build-query.ts";
import type { BuildView } from "./build-view.ts";
import type { allAuths } from "./credentials.ts";
import type { Client } from "./engine.ts";
import { print, write } from "./output.ts";
import { showProgress } from "./progress.ts";

/** One of several builds. */
export interface Job {
  /** The jobs whose results it builds on. */
  readonly needs: readonly string[];
  readonly place: string;
  /** What it is built with, once the IDs of what it needs are known. */
  flags(results: ReadonlyMap<string, string>): BuildFlags;
  /** Where its results go, when not where its flags say. @throws Failure "invalid" */
  readonly placed?: (outputs: readonly PlacedOutput[]) => readonly PlacedOutput[];
}

export interface JobResult {
  readonly id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface RunOptions {
  readonly show: BuildShow;
  readonly auths: Awaited<ReturnType<typeof allAuths>>;
}

/** All at once; one that uses another's result waits for it. The first failure is told. */
export async function runJobs(
  engine: Client,
  jobs: ReadonlyMap<string, Job>,
  options: RunOptions,
): Promise<ReadonlyMap<string, JobResult>> {
  using live = options.show === "tty" ? liveView(false) : undefined;
  const together = live && new Together(live.view);
  const running = new Map<string, Promise<JobResult>>();
  const start = (name: string): Promise<JobResult> => {
    const known = running.get(name);
    if (known) return known;
    const job = jobs.get(name)!;
    const task = (async () => {
      const needed = await Promise.all(
        job.needs.map(async (each) => [each, await start(each)] as const),
      );
      const results = new Map(needed.map(([each, { id }]) => [each, id]));
      return await runJob(engine, { name, job, results, together }, options);
    })();
    running.set(name, task);
    return task;
  };
  const names = [...jobs.keys()];
  const done = await Promise.allSettled(names.map(start));
  const broken = done.find((each) => each.status === "rejected");
  if (broken) throw broken.reason;
  const all = done.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  return new Map(names.map((name, at) => [name, all[at]!]));
}

interface Work {
  readonly name: string;
  readonly job: Job;
  readonly results: ReadonlyMap<string, string>;
  readonly together: Together | undefined;
}

async function runJob(
  engine: Client,
  { name, job, results, together }: Work,
  { show, auths: registries }: RunOptions,
): Promise<JobResult> {
  const fail = (error: unknown): never => {
    if (!(error instanceof Failure)) throw error;
    const { code, message, hint } = error;
    throw new Failure(code, `target ${name}: ${message}`, {
      cause: error,
      ...(hint ? { hint } : {}),
    });
  };
  const flags = job.flags(results);
  const from = { place: job.place, needs: needsOf(flags) };
  await using prepared = await prepareBuild(engine, flags, from);
  const { pieces, context } = prepared;
  const outputs = job.placed?.(prepared.outputs) ?? prepared.outputs;
  const query = { ...prepared.query, events: show === "tty" || show === "json" };
  const sent = await engine.images.build(query, context, { registries }).catch(fail);
  const messages = pieces ? answering(engine, sent, pieces) : sent;
  let last: NonNullable<ProgressMessage["aux"]> = {};
  const shown = together
    ? together.show(name, messages)
    : show === "json"
      ? asJson(name, messages)
      : labelled(messages, name);
  try {
    await showProgress(shown, {
      isTerminal: false,
      quiet: show === "quiet",
      onAux: (aux) => {
        last = aux.ID ? aux : last;
      },
    });
  } catch (error) {
    fail(error);
  }
  await receive(engine, outputs, last.Results ?? []);
  await prepared.receiveCaches(last.Caches ?? []);
  return { id: last.ID ?? "", metadata: last.Metadata ?? {} };
}

/** One live view of several builds: their steps get numbers of their own, and their names. */
class Together {
  readonly #view: BuildView;
  readonly #numbers = new Map<string, number>();
  readonly #totals = new Map<string, number>();

  constructor(view: BuildView) {
    this.#view = view;
  }

  async *show(
    name: string,
    messages: AsyncIterable<ProgressMessage>,
  ): AsyncGenerator<ProgressMessage> {
    for await (const message of messages) {
      if (message.event) this.#take(name, message.event);
      else if (message.status !== undefined) {
        this.#view.pull({ ...message, status: `[${name}] ${message.status}` });
      } else yield message;
    }
  }

  #take(name: string, event: BuildEventMessage): void {
    if (event.kind === "skipped") {
      this.#view.take({ ...event, stage: `${name} ${event.stage}` });
    } else if (event.kind === "step") {
      this.#totals.set(name, event.total);
      const total = [...this.#totals.values()].reduce((sum, each) => sum + each, 0);
      const stage = event.stage === "" ? name : `${name} ${event.stage}`;
      this.#view.take({ ...event, stage, total, step: this.#numberOf(name, event.step) });
    } else if (event.kind === "output" || event.kind === "settled") {
      this.#view.take({ ...event, step: this.#numberOf(name, event.step) });
    } else this.#view.take(event);
  }

  #numberOf(name: string, step: number): number {
    const key = `${step} ${name}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#numbers.size + 1;
    this.#numbers.set(key, number);
    return number;
  }
}

async function* asJson(
  target: string,
  messages: AsyncIterable<ProgressMessage>,
): AsyncGenerator<ProgressMessage> {
  for await (const message of messages) {
    print(JSON.stringify({ target, ...(message.event ?? message) }));
    if (!message.event) yield { ...message, stream: "" };
  }
}

/** Whole lines, each with the target's name before it: several write at once. */
async function* labelled(
  messages: AsyncIterable<ProgressMessage>,
  name: string,
): AsyncGenerator<ProgressMessage> {
  let rest = "";
  for await (const message of messages) {
    if (message.stream === undefined) {
      yield message.status === undefined
        ? message
        : { ...message, status: `[${name}] ${message.status}` };
      continue;
    }
    const lines = (rest + message.stream).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield { stream: `[${name}] ${line}\n` };
  }
  if (rest !== "") await write(`[${name}] ${rest}\n`);
}
