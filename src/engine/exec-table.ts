import type { Database } from "bun:sqlite";
import { Failure } from "../base/mod.ts";
import type { RunningProcess } from "../runtime/mod.ts";
import type { Exec, ExecRequest } from "./types.ts";

/** How long an exec that has ended, or was never started, can still be asked about. */
const keptMs = 300_000;
const execsMax = 100_000;

export interface ExecEntry {
  readonly id: string;
  readonly containerId: string;
  readonly request: ExecRequest;
  /** "created", then "started" (running or about to), then "ended". */
  phase: "created" | "started" | "ended";
  exitCode: number | null;
  pid: number;
  process: RunningProcess | undefined;
  /** The process that is to be, between the start and `process`. */
  launching: Promise<RunningProcess> | undefined;
  /** When it was created, or when it ended. */
  sinceMs: number;
}

/** All execs. Those that were started are in the table, so that the next daemon finds them. */
export class Execs {
  readonly #database: Database;
  readonly #byId = new Map<string, ExecEntry>();
  #sweptMs = 0;

  constructor(database: Database) {
    this.#database = database;
    database.run(
      `CREATE TABLE IF NOT EXISTS engine_execs (
        id TEXT PRIMARY KEY, container TEXT NOT NULL, request TEXT NOT NULL) WITHOUT ROWID`,
    );
  }

  /** What an earlier daemon had started. */
  stored(): { id: string; containerId: string; request: ExecRequest }[] {
    const rows = this.#database
      .query<{ id: string; container: string; request: string }, []>("SELECT * FROM engine_execs")
      .all();
    return rows.map(({ id, container, request }) => ({
      id,
      containerId: container,
      request: JSON.parse(request) as ExecRequest,
    }));
  }

  add(id: string, containerId: string, request: ExecRequest): ExecEntry {
    this.#sweep();
    if (this.#byId.size >= execsMax) {
      throw new Failure("exhausted", `Cannot keep over ${execsMax} execs`);
    }
    const entry: ExecEntry = {
      id,
      containerId,
      request,
      phase: "created",
      exitCode: null,
      pid: 0,
      process: undefined,
      launching: undefined,
      sinceMs: Date.now(),
    };
    this.#byId.set(id, entry);
    return entry;
  }

  /** @throws "not_found" */
  get(id: string): ExecEntry {
    const entry = this.#byId.get(id);
    if (entry) return entry;
    throw new Failure("not_found", `No such exec instance: ${id.slice(0, 100)}`);
  }

  started(entry: ExecEntry): void {
    entry.phase = "started";
    this.#database
      .query("INSERT OR REPLACE INTO engine_execs (id, container, request) VALUES (?, ?, ?)")
      .run(entry.id, entry.containerId, JSON.stringify(entry.request));
  }

  ended(entry: ExecEntry, exitCode: number): void {
    entry.phase = "ended";
    entry.exitCode = exitCode;
    entry.process = undefined;
    entry.sinceMs = Date.now();
    this.drop(entry.id);
  }

  drop(id: string): void {
    this.#database.query("DELETE FROM engine_execs WHERE id = ?").run(id);
  }

  running(containerId: string): string[] {
    return [...this.#byId.values()]
      .filter((entry) => entry.containerId === containerId && entry.phase === "started")
      .map(({ id }) => id);
  }

  inspect(id: string): Exec {
    const { containerId, request, phase, exitCode, pid } = this.get(id);
    return { id, containerId, request, running: phase === "started", exitCode, pid };
  }

  #sweep(): void {
    const nowMs = Date.now();
    if (nowMs - this.#sweptMs < keptMs / 10) return;
    this.#sweptMs = nowMs;
    for (const [id, entry] of this.#byId) {
      if (entry.phase !== "started" && nowMs - entry.sinceMs > keptMs) this.#byId.delete(id);
    }
  }
}
