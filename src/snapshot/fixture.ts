import { Database } from "bun:sqlite";
import { afterAll } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type TarFields, type TarInput, writeTar } from "../archive/mod.ts";
import { type Digest, digestOf } from "../oci/mod.ts";
import { listMounts, unmountNow } from "../sys/mod.ts";
import { openSnapshotStore } from "./store.ts";
import type { SnapshotStore } from "./types.ts";

/** What the tests of the store share: stores in a folder of their own, and tars of a few entries. */
export interface Open {
  readonly store: SnapshotStore;
  readonly directory: string;
  readonly database: Database;
}

export class Fixture {
  readonly base = mkdtempSync("/var/tmp/lading-snapshot-");
  #stores = 0;
  #tars = 0;

  constructor() {
    afterAll(() => {
      for (const target of this.mounts(this.base)) unmountNow(target, { detach: true });
      rmSync(this.base, { recursive: true, force: true });
    });
  }

  /** The mount points below a directory. */
  mounts(directory: string): string[] {
    const targets = listMounts().map(({ target }) => target);
    return targets.filter((target) => target.startsWith(`${directory}/`));
  }

  async openIn(directory: string): Promise<Open> {
    mkdirSync(directory, { recursive: true });
    const database = new Database(`${directory}/db.sqlite`);
    database.run("PRAGMA journal_mode = WAL");
    const store = await openSnapshotStore({ directory: `${directory}/snapshot`, database });
    return { store, directory, database };
  }

  openNew(): Promise<Open> {
    return this.openIn(`${this.base}/${this.#stores++}`);
  }

  async tarOf(entries: TarInput[]): Promise<{ path: string; diffId: Digest }> {
    const bytes = Buffer.concat(await Array.fromAsync(writeTar(entries)));
    const path = `${this.base}/${this.#tars++}.tar`;
    writeFileSync(path, bytes);
    return { path, diffId: digestOf(bytes) };
  }

  async layerOf(store: SnapshotStore, entries: TarInput[]): Promise<Digest> {
    const { path, diffId } = await this.tarOf(entries);
    return (await store.unpack(path, { diffId })).diffId;
  }
}

export const file = (path: string, text = path): TarInput => ({
  header: { path },
  body: Buffer.from(text),
});
export const entry = (header: TarFields): TarInput => ({ header });
export const folder = (path: string, mode = 0o755): TarInput =>
  entry({ path, type: "directory", mode });

export async function hashOf(tar: AsyncIterable<Uint8Array>): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const part of tar) hasher.update(part);
  return `sha256:${hasher.digest("hex")}`;
}
