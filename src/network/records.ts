import type { Database } from "bun:sqlite";
import type { BoundPort, Endpoint, Network, SandboxSpec } from "./types.ts";

/** A sandbox as it is kept: enough to find it in the kernel again, or to take it away. */
export interface SandboxRecord {
  readonly spec: SandboxSpec;
  /** Of the network namespace; 0 until there is one, and for a sandbox without. */
  readonly inode: number;
  readonly attachments: readonly Attachment[];
  readonly ports: readonly BoundPort[];
}

export interface Attachment {
  readonly endpoint: Endpoint;
  /** The veth's end on the host; empty for networks without a bridge. */
  readonly link: string;
  /** The name that a plugin's interface has on the host; it goes back there. */
  readonly source?: string;
}

/** The tables of this folder. An address has one row, so that it cannot be given twice. */
export class Records {
  readonly #database: Database;
  readonly #saveSandbox;
  readonly #removeSandbox;
  readonly #addAddress;
  readonly #removeAddress;

  constructor(database: Database) {
    this.#database = database;
    database.run(`CREATE TABLE IF NOT EXISTS network_network (
      id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, json TEXT NOT NULL) STRICT`);
    database.run(`CREATE TABLE IF NOT EXISTS network_sandbox (
      container TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT`);
    database.run(`CREATE TABLE IF NOT EXISTS network_address (
      network TEXT NOT NULL, address TEXT NOT NULL, container TEXT NOT NULL,
      PRIMARY KEY (network, address)) STRICT, WITHOUT ROWID`);
    this.#saveSandbox = database.query<undefined, [string, string]>(
      "INSERT OR REPLACE INTO network_sandbox VALUES (?, ?)",
    );
    this.#removeSandbox = database.query<undefined, [string]>(
      "DELETE FROM network_sandbox WHERE container = ?",
    );
    this.#addAddress = database.query<undefined, [string, string, string]>(
      "INSERT INTO network_address VALUES (?, ?, ?)",
    );
    this.#removeAddress = database.query<undefined, [string, string]>(
      "DELETE FROM network_address WHERE network = ? AND address = ?",
    );
  }

  /** Runs `change` as one transaction. */
  together<R>(change: () => R): R {
    return this.#database.transaction(change)();
  }

  networks(): Network[] {
    const rows = this.#database
      .query<{ json: string }, []>("SELECT json FROM network_network ORDER BY rowid")
      .all();
    return rows.map(({ json }) => JSON.parse(json) as Network);
  }

  saveNetwork(network: Network): void {
    this.#database.run("INSERT OR REPLACE INTO network_network VALUES (?, ?, ?)", [
      network.id,
      network.name,
      JSON.stringify(network),
    ]);
  }

  removeNetwork(id: string): void {
    this.#database.run("DELETE FROM network_network WHERE id = ?", [id]);
    this.#database.run("DELETE FROM network_address WHERE network = ?", [id]);
  }

  sandboxes(): SandboxRecord[] {
    const rows = this.#database
      .query<{ json: string }, []>("SELECT json FROM network_sandbox ORDER BY rowid")
      .all();
    return rows.map(({ json }) => JSON.parse(json) as SandboxRecord);
  }

  saveSandbox(record: SandboxRecord): void {
    this.#saveSandbox.run(record.spec.containerId, JSON.stringify(record));
  }

  removeSandbox(containerId: string): void {
    this.#removeSandbox.run(containerId);
  }

  addresses(): { network: string; address: string; container: string }[] {
    return this.#database
      .query<{ network: string; address: string; container: string }, []>(
        "SELECT network, address, container FROM network_address",
      )
      .all();
  }

  addAddress(network: string, address: string, container: string): void {
    this.#addAddress.run(network, address, container);
  }

  removeAddress(network: string, address: string): void {
    this.#removeAddress.run(network, address);
  }
}
