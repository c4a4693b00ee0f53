import type { Database } from "bun:sqlite";
import type { Digest } from "../oci/mod.ts";
import type { StepInputs } from "./reasons.ts";

/** Where a step stands: the `ordinal`th of a stage of a project. */
export interface StepSlot {
  readonly stage: string;
  readonly ordinal: number;
  /** What its stage was when this build began. */
  readonly past: readonly PastRow[];
}

/** What the step at a place was when it was last built. */
export interface StepRecord {
  readonly key: Digest;
  /** The key of what came before it. */
  readonly parent: Digest;
  /** The instruction as it was written. */
  readonly text: string;
  readonly inputs: StepInputs;
}

const rowsMax = 20_000;
const recordBytesMax = 64 << 10;

/** The table `build_record`: the steps of the last build of each project, to explain the next one by. */
export class StepRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
    database.run(
      `CREATE TABLE IF NOT EXISTS build_record (stage TEXT, ordinal INTEGER, key TEXT NOT NULL,
       parent TEXT NOT NULL, text TEXT NOT NULL, inputs TEXT NOT NULL, used_ms INTEGER NOT NULL,
       PRIMARY KEY (stage, ordinal)) WITHOUT ROWID`,
    );
  }

  /** All steps of a stage as it was built last. */
  past(stage: string): PastRow[] {
    return this.#database
      .query<PastRow, [string]>("SELECT * FROM build_record WHERE stage = ?")
      .all(stage);
  }

  /** Notes a step; writes nothing when it is there already. Steps with huge inputs are not kept. */
  put({ stage, ordinal }: Omit<StepSlot, "past">, { key, parent, text, inputs }: StepRecord): void {
    const json = JSON.stringify(inputs);
    if (json.length + text.length > recordBytesMax) return;
    this.#database
      .query(
        `INSERT INTO build_record VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET key = excluded.key, parent = excluded.parent,
         text = excluded.text, inputs = excluded.inputs, used_ms = excluded.used_ms
         WHERE key <> excluded.key OR text <> excluded.text OR parent <> excluded.parent`,
      )
      .run(stage, ordinal, key, parent, text, json, Date.now());
  }

  /** Keeps the table in its bound: once a build. */
  trim(): void {
    this.#database
      .query(
        `DELETE FROM build_record WHERE used_ms < (SELECT used_ms FROM build_record
         ORDER BY used_ms DESC LIMIT 1 OFFSET ?)`,
      )
      .run(rowsMax);
  }
}

export interface PastRow {
  readonly ordinal: number;
  readonly key: string;
  readonly parent: string;
  readonly text: string;
  readonly inputs: string;
}

/** The step to compare with: the nearest with the same text, else the one at the same place. */
export function findPast({ past, ordinal }: StepSlot, text: string): StepRecord | undefined {
  const distance = (row: PastRow) => Math.abs(row.ordinal - ordinal);
  const same = past.filter((row) => row.text === text);
  const [nearest] = same.sort((a, b) => distance(a) - distance(b));
  const row = nearest ?? past.find((one) => one.ordinal === ordinal);
  if (!row) return undefined;
  return {
    key: row.key as Digest,
    parent: row.parent as Digest,
    text: row.text,
    inputs: JSON.parse(row.inputs) as StepInputs,
  };
}
