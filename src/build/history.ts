import type { Database } from "bun:sqlite";
import { Failure, log, toFailure } from "../base/mod.ts";
import { type Reason, reasonText } from "./reasons.ts";
import { newId } from "./tools.ts";
import type { BuildEvent, BuildRequest, Outcome } from "./types.ts";

/** A step of a build that was, or is going on. */
export interface PastStep {
  readonly number: number;
  readonly stage: string;
  readonly text: string;
  /** Undefined while it goes on. */
  readonly outcome?: Outcome | undefined;
  readonly reasons: readonly Reason[];
  /** The reasons as people read them. */
  readonly why: string;
  readonly ms: number;
}

/** `interrupted`: the engine was killed meanwhile. */
export type PastStatus = "running" | "succeeded" | "failed" | "cancelled" | "interrupted";

export interface PastBuild {
  readonly id: string;
  readonly startedMs: number;
  /** 0 while it goes on. */
  readonly endedMs: number;
  readonly status: PastStatus;
  readonly tags: readonly string[];
  readonly target: string;
  readonly dockerfile: string;
  readonly image: string;
  readonly error: string;
  readonly total: number;
  readonly cached: number;
}

const buildsMax = 200;
const logBytesMax = 1 << 20;
const stepsKeptMax = 2_000;
const errorMax = 4_000;
const stepTextMax = 1_000;

/** Past builds: the table `build_history`, newest first, bounded. */
export class History {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
    database.run(
      `CREATE TABLE IF NOT EXISTS build_history (id TEXT PRIMARY KEY, started_ms INTEGER NOT NULL,
       about TEXT NOT NULL, steps BLOB, log BLOB) WITHOUT ROWID`,
    );
    for (const build of this.list()) {
      if (build.status === "running") this.#put({ ...build, status: "interrupted" });
    }
  }

  list(): PastBuild[] {
    return this.#database
      .query<{ about: string }, []>("SELECT about FROM build_history ORDER BY started_ms DESC, id")
      .all()
      .map(({ about }) => JSON.parse(about) as PastBuild);
  }

  /** A build by its id or the beginning of it; "" is the newest. @throws Failure "not_found" */
  find(id: string): PastBuild {
    const [build, second] = this.list().filter((one) => one.id.startsWith(id));
    if (!build) throw new Failure("not_found", `No such build: ${id || "there was none yet"}`);
    if (second && id !== "") throw new Failure("conflict", `Several builds begin with ${id}`);
    return build;
  }

  async steps(id: string): Promise<PastStep[]> {
    const bytes = this.#blob(id, "steps");
    return bytes ? (JSON.parse(Buffer.from(await unpack(bytes)).toString()) as PastStep[]) : [];
  }

  /** The output of its steps, one after the other. */
  async log(id: string): Promise<Uint8Array> {
    const bytes = this.#blob(id, "log");
    return bytes ? await unpack(bytes) : new Uint8Array(0);
  }

  remove(id: string): void {
    this.#database.query("DELETE FROM build_history WHERE id = ?").run(id);
  }

  /** Notes a build from its beginning to its end, and what it tells in between. */
  async record<T extends { readonly id: string }>(
    request: BuildRequest,
    report: (event: BuildEvent) => void,
    work: (tell: (event: BuildEvent) => void) => Promise<T>,
  ): Promise<T> {
    const recorder = this.#begin(request);
    const tell = (event: BuildEvent) => {
      recorder.take(event);
      report(event);
    };
    tell({ kind: "begun", id: recorder.build.id });
    try {
      const image = await work(tell);
      await recorder.succeed(image.id);
      return image;
    } catch (error) {
      await recorder.fail(toFailure(error).message, request.signal.aborted);
      throw error;
    }
  }

  #begin(request: BuildRequest): Recorder {
    const recorder = new Recorder(request, async (build, steps, log) => {
      this.#put(build, await pack(steps), await pack(log));
    });
    this.#put(recorder.build);
    this.#database
      .query(
        `DELETE FROM build_history WHERE id NOT IN
         (SELECT id FROM build_history ORDER BY started_ms DESC, id LIMIT ?)`,
      )
      .run(buildsMax);
    return recorder;
  }

  /** A build does not fail because it cannot be remembered: the disk may be full, by that very build. */
  #put(build: PastBuild, steps: Uint8Array | null = null, output: Uint8Array | null = null): void {
    try {
      this.#database
        .query("INSERT OR REPLACE INTO build_history VALUES (?, ?, ?, ?, ?)")
        .run(build.id, build.startedMs, JSON.stringify(build), steps, output);
    } catch (error) {
      log("warn", "Cannot keep a build's history", { error, build: build.id });
    }
  }

  #blob(id: string, column: "steps" | "log"): Uint8Array | null | undefined {
    return this.#database
      .query<{ bytes: Uint8Array | null }, [string]>(
        `SELECT ${column} AS bytes FROM build_history WHERE id = ?`,
      )
      .get(id)?.bytes;
  }
}

const pack = (text: string) => Bun.zstdCompress(text, { level: 1 });
const unpack = (bytes: Uint8Array) => Bun.zstdDecompress(bytes);

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Save = (build: PastBuild, steps: string, log: string) => Promise<void>;

/** Listens to one build and keeps what is told, within bounds and without the build's secrets. */
class Recorder {
  #build: PastBuild;
  readonly #save: Save;
  readonly #secrets: readonly string[];
  readonly #steps = new Map<number, Mutable<PastStep>>();
  readonly #output = new Map<number, Uint8Array[]>();
  #logBytes = 0;
  #isCut = false;

  constructor(request: BuildRequest, save: Save) {
    this.#save = save;
    const secrets = [...(request.secrets?.values() ?? [])];
    this.#secrets = secrets.map((bytes) => Buffer.from(bytes).toString().trim());
    this.#build = {
      id: newId().slice(0, 12),
      startedMs: Date.now(),
      endedMs: 0,
      status: "running",
      tags: request.tags,
      target: request.target,
      dockerfile: "path" in request.dockerfile ? request.dockerfile.path : "-",
      image: "",
      error: "",
      total: 0,
      cached: 0,
    };
  }

  get build(): PastBuild {
    return this.#build;
  }

  take(event: BuildEvent): void {
    if (event.kind === "step") {
      const { number, stage, total } = event;
      if (total !== this.#build.total) this.#build = { ...this.#build, total };
      if (this.#steps.size >= stepsKeptMax) return;
      const text = event.text.slice(0, stepTextMax);
      this.#steps.set(number, { number, stage, text, reasons: [], why: "", ms: 0 });
    } else if (event.kind === "settled") this.#settle(event);
    else if (event.kind === "output") this.#keep(event.number, event.bytes);
  }

  #settle({ number, outcome, reasons, ms }: Extract<BuildEvent, { kind: "settled" }>): void {
    const step = this.#steps.get(number);
    if (!step) return;
    Object.assign(step, { outcome, reasons, ms, why: reasons.map(reasonText).join("; ") });
    if (outcome !== "cached") return;
    this.#build = { ...this.#build, cached: this.#build.cached + 1 };
  }

  #keep(number: number, bytes: Uint8Array): void {
    if (this.#logBytes + bytes.length > logBytesMax) {
      this.#isCut = true;
      return;
    }
    this.#logBytes += bytes.length;
    const parts = this.#output.get(number) ?? [];
    parts.push(new Uint8Array(bytes));
    this.#output.set(number, parts);
  }

  async succeed(image: string): Promise<void> {
    await this.#end({ status: "succeeded", image });
  }

  async fail(message: string, isCancelled: boolean): Promise<void> {
    const status = isCancelled ? "cancelled" : "failed";
    await this.#end({ status, error: this.#clean(message).slice(0, errorMax) });
  }

  async #end(how: Partial<PastBuild>): Promise<void> {
    this.#build = { ...this.#build, ...how, endedMs: Date.now() };
    const steps = [...this.#steps.values()].sort((a, b) => a.number - b.number);
    const log = steps.map(({ number, text }) => {
      const output = Buffer.concat(this.#output.get(number) ?? []).toString();
      return `Step ${number}/${this.#build.total} : ${text}\n${output}`;
    });
    if (this.#isCut) log.push("More output was not kept\n");
    await this.#save(this.#build, JSON.stringify(steps), this.#clean(log.join("")));
  }

  /** A command may print a secret; what is kept does not. */
  #clean(text: string): string {
    const words = this.#secrets.filter((secret) => secret.length >= 4);
    return words.reduce((clean, secret) => clean.replaceAll(secret, "***"), text);
  }
}
