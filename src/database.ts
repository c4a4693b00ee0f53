/** The engine's one database, which goes on when the disk is full. */
import { constants, Database } from "bun:sqlite";
import { chmodSync, statfsSync, statSync } from "node:fs";
import { log } from "./base/mod.ts";

/** More than the journal has when its pages are copied into the database: 1,000 pages of 4 KiB. */
const reserveBytes = 5 << 20;
/** Room is taken only from a disk that has far more. */
const freeBytesMin = 64 << 20;
const lookMs = 10 * 60_000;

/** Opens it. A crash of the host may lose the last moments, never consistency. `users` may pass the data root, and it holds containers' variables: the file is root's. */
export function openDatabase(path: string): Database {
  const database = new Database(path, { create: true });
  chmodSync(path, 0o600);
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = NORMAL");
  database.run("PRAGMA busy_timeout = 5000");
  database.run("PRAGMA foreign_keys = ON");
  // The journal keeps its room when the engine ends.
  database.fileControl(constants.SQLITE_FCNTL_PERSIST_WAL, 1);
  return database;
}

/**
 * Keeps room in the files of a database, so that containers can be stopped and removed, and their ends
 * written down, when the disk is full: pages that are free in the database, and a journal that is as long
 * as it will get. Both are overwritten in place where the file system does so (ext4, XFS). Looks again
 * from time to time; ends with the process.
 */
export function keepRoom(database: Database, path: string): void {
  const look = () => {
    try {
      reserve(database, path);
    } catch (error) {
      log("debug", "Cannot keep room in the database", { error });
    }
  };
  look();
  setInterval(look, lookMs).unref();
}

function reserve(database: Database, path: string): void {
  const count = (name: string) =>
    (database.query(`PRAGMA ${name}`).values()[0]?.[0] ?? 0) as number;
  const pages = count("freelist_count") * count("page_size");
  const journal = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  if (pages >= reserveBytes / 2 && journal >= reserveBytes) return;
  const { bavail, bsize } = statfsSync(path);
  if (bavail * bsize < freeBytesMin) return;
  database.run("CREATE TABLE IF NOT EXISTS reserve (zeros BLOB)");
  database.run("INSERT INTO reserve VALUES (zeroblob(?))", [reserveBytes]);
  // Only what is copied has its place on disk.
  database.run("PRAGMA wal_checkpoint(RESTART)");
  database.run("DROP TABLE reserve");
}
