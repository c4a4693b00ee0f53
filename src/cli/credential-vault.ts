/**
 * Credentials, encrypted: what stands behind `docker-credential-lading`. Each secret with its user's
 * name is one AES-256-GCM message, bound to its address. The key is a file elsewhere, or comes of a
 * passphrase; so neither a backup of the folder nor a look into it gives a password away.
 */
import { Database } from "bun:sqlite";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { Failure, reasonOf } from "../base/mod.ts";

export interface Secret {
  readonly username: string;
  readonly secret: string;
}

export interface Vault extends Disposable {
  get(address: string): Promise<Secret | undefined>;
  store(address: string, secret: Secret): Promise<void>;
  /** False when there was none. */
  erase(address: string): boolean;
  /** The users' names by address. */
  list(): Promise<Record<string, string>>;
}

/** In place of the key file. */
export const passphraseVariable = "LADING_CREDENTIALS_PASSPHRASE";
export const keyVariable = "LADING_CREDENTIALS_KEY";

const keyBytes = 32;
const nonceBytes = 12;
const saltBytes = 16;
const iterations = 600_000;
const waitMs = 10_000;
const textBytesMax = 64 << 10;

export const vaultPath = (folder: string) => `${folder}/lading-credentials.db`;

/** Where the key is kept: not beside what it opens. */
export function keyPath(): string {
  const home = process.env["XDG_CONFIG_HOME"] || `${process.env["HOME"] ?? "/root"}/.config`;
  return process.env[keyVariable] || `${home}/lading/credentials.key`;
}

/**
 * Opens the vault of a configuration folder; it, and the key, are made when absent.
 * @throws Failure "denied" — the key or the vault cannot be used; "corrupt" — it is another key's
 */
export async function openVault(folder: string): Promise<Vault> {
  const path = vaultPath(folder);
  const database = openDatabase(folder, path);
  try {
    const vault = new SqliteVault(database, await keyFor(database), path);
    await vault.check();
    return vault;
  } catch (error) {
    database.close();
    throw error;
  }
}

function openDatabase(folder: string, path: string): Database {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // SQLite would let everybody read it, and gives its journal the same mode.
    closeSync(openSync(path, "a", 0o600));
    const database = new Database(path);
    database.run(`PRAGMA busy_timeout = ${waitMs}`);
    database.run("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL)");
    database.run(
      "CREATE TABLE IF NOT EXISTS secrets (address TEXT PRIMARY KEY, nonce BLOB, bytes BLOB)",
    );
    return database;
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Failure("denied", `Cannot open the credentials in ${path}: ${why}`, { cause });
  }
}

async function keyFor(database: Database): Promise<CryptoKey> {
  const passphrase = process.env[passphraseVariable];
  const salt = fact(database, "salt");
  const hasSecrets = database.query("SELECT 1 FROM secrets LIMIT 1").get() !== null;
  if (hasSecrets && Boolean(salt) !== Boolean(passphrase)) {
    const by = salt ? "a passphrase" : "a key file, not by a passphrase";
    throw new Failure("denied", `Cannot open the credentials: they are locked by ${by}`, {
      hint: salt ? `Give it in ${passphraseVariable}` : `Leave out ${passphraseVariable}`,
    });
  }
  if (!passphrase) return await importKey(keyFile(keyPath()));
  const fresh = crypto.getRandomValues(new Uint8Array(saltBytes));
  database.run("INSERT OR IGNORE INTO facts VALUES ('salt', ?)", [fresh]);
  const text = Buffer.from(passphrase.normalize("NFKC"));
  const material = await crypto.subtle.importKey("raw", text, "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: fact(database, "salt")!, iterations };
  return await importKey(new Uint8Array(await crypto.subtle.deriveBits(how, material, 256)));
}

function fact(database: Database, name: string): Uint8Array<ArrayBuffer> | undefined {
  const query = "SELECT value FROM facts WHERE name = ?";
  return database.query<{ value: Uint8Array<ArrayBuffer> }, [string]>(query).get(name)?.value;
}

function importKey(bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** The key of the file; of two that make it at once, one wins. @throws Failure "denied" | "corrupt" */
function keyFile(path: string): Uint8Array<ArrayBuffer> {
  const deny = (why: string, hint: string, cause?: unknown) =>
    new Failure("denied", `Cannot use the key ${path}: ${why}`, { hint, cause });
  try {
    makeKey(path);
    const { mode, uid } = statSync(path);
    if ((mode & 0o077) !== 0) throw deny("others may read it", `chmod 600 ${path}`);
    if (uid !== process.getuid?.()) throw deny("it is another user's", `Set ${keyVariable}`);
    const bytes = Buffer.from(readFileSync(path, "utf8").trim(), "base64");
    if (bytes.length === keyBytes) return new Uint8Array(bytes);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw deny(reasonOf(cause), `Set ${keyVariable} or ${passphraseVariable}`, cause);
  }
  throw new Failure("corrupt", `Cannot use the key ${path}: it is not 32 bytes in base64`);
}

function makeKey(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })) return;
  mkdirSync(path.replace(/\/[^/]*$/, "") || "/", { recursive: true, mode: 0o700 });
  const temporary = `${path}.${crypto.randomUUID()}`;
  const file = openSync(temporary, "wx", 0o600);
  try {
    const key = crypto.getRandomValues(new Uint8Array(keyBytes));
    writeSync(file, `${Buffer.from(key).toString("base64")}\n`);
    fsyncSync(file);
    linkSync(temporary, path);
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error; // another was first
  } finally {
    closeSync(file);
    rmSync(temporary, { force: true });
  }
}

type Row = { readonly address: string; readonly nonce: Uint8Array; readonly bytes: Uint8Array };

class SqliteVault implements Vault {
  readonly #database: Database;
  readonly #key: CryptoKey;
  readonly #path: string;

  constructor(database: Database, key: CryptoKey, path: string) {
    this.#database = database;
    this.#key = key;
    this.#path = path;
  }

  async get(address: string): Promise<Secret | undefined> {
    const query = "SELECT address, nonce, bytes FROM secrets WHERE address = ?";
    const row = this.#database.query<Row, [string]>(query).get(address);
    return row ? await this.#decrypt(row) : undefined;
  }

  async store(address: string, { username, secret }: Secret): Promise<void> {
    const text = Buffer.from(JSON.stringify([username, secret]));
    if (address.length > textBytesMax || text.length > textBytesMax) {
      throw new Failure("invalid", `Cannot keep credentials of over ${textBytesMax} bytes`);
    }
    const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes));
    const bytes = await crypto.subtle.encrypt(this.#how(address, nonce), this.#key, text);
    const values = [address, nonce, new Uint8Array(bytes)];
    this.#database.run("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", values);
  }

  /** One key opens all: so nothing is stored with another one. */
  async check(): Promise<void> {
    const row = this.#database.query<Row, []>("SELECT * FROM secrets LIMIT 1").get();
    if (row) await this.#decrypt(row);
  }

  erase(address: string): boolean {
    return this.#database.run("DELETE FROM secrets WHERE address = ?", [address]).changes > 0;
  }

  async list(): Promise<Record<string, string>> {
    const rows = this.#database.query<Row, []>("SELECT * FROM secrets ORDER BY address").all();
    const found: Record<string, string> = {};
    for (const row of rows) found[row.address] = (await this.#decrypt(row)).username;
    return found;
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /** The address is signed too: a row that was moved to another address does not open. */
  #how(address: string, nonce: Uint8Array) {
    const about = Buffer.from(`lading credentials 1 ${address}`);
    return { name: "AES-GCM", iv: new Uint8Array(nonce), additionalData: about };
  }

  async #decrypt({ address, nonce, bytes }: Row): Promise<Secret> {
    try {
      const how = this.#how(address, nonce);
      const text = await crypto.subtle.decrypt(how, this.#key, new Uint8Array(bytes));
      const [username, secret] = JSON.parse(Buffer.from(text).toString()) as [string, string];
      return { username, secret };
    } catch (cause) {
      const why = "they were stored with another key, or changed";
      throw new Failure("corrupt", `Cannot read the credentials for ${address}: ${why}`, {
        hint: `Give the key that was in ${keyPath()} (or the passphrase), or remove ${this.#path} and log in again`,
        cause,
      });
    }
  }
}
