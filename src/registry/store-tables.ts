import type { Database } from "bun:sqlite";

/**
 * What the registry knows by name. A row in `registry_blob` or `registry_manifest`, hidden
 * (`removed_ms`) or not, means that the bytes are in the content store: bytes go only after the last row
 * is gone, under the digest's lock. Times are milliseconds since 1970.
 */
const tables = [
  `registry_repository (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
  ) STRICT`,
  // What a repository may serve. `touched_ms`: when a push last relied on it.
  `registry_blob (
    repository INTEGER NOT NULL REFERENCES registry_repository(id),
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    touched_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID`,
  `registry_manifest (
    repository INTEGER NOT NULL REFERENCES registry_repository(id),
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    artifact_type TEXT,
    subject TEXT,
    annotations TEXT,
    pushed_ms INTEGER NOT NULL,
    touched_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID`,
  // What a manifest refers to: kind "blob" or "manifest"; "cached …" for what may be elsewhere still.
  `registry_edge (
    repository INTEGER NOT NULL,
    parent TEXT NOT NULL,
    child TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (repository, parent, child, kind)
  ) STRICT, WITHOUT ROWID`,
  `registry_tag (
    repository INTEGER NOT NULL REFERENCES registry_repository(id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    moved_ms INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID`,
  // Every move of a tag; digest NULL: it was removed.
  `registry_move (
    id INTEGER PRIMARY KEY,
    repository INTEGER NOT NULL REFERENCES registry_repository(id),
    tag TEXT NOT NULL,
    digest TEXT,
    previous TEXT,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL
  ) STRICT`,
  `registry_upload (
    id TEXT PRIMARY KEY,
    repository INTEGER NOT NULL REFERENCES registry_repository(id),
    who TEXT NOT NULL,
    touched_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
];

const indexes = [
  "registry_blob_digest ON registry_blob (digest)",
  "registry_manifest_digest ON registry_manifest (digest)",
  "registry_manifest_subject ON registry_manifest (repository, subject, digest)",
  "registry_edge_child ON registry_edge (repository, child)",
  "registry_tag_order ON registry_tag (repository, lower(name), name)",
  "registry_tag_digest ON registry_tag (repository, digest)",
  "registry_move_tag ON registry_move (repository, tag, id)",
  "registry_upload_who ON registry_upload (who)",
];

/** Makes the registry's tables where they are absent. */
export function createTables(database: Database): void {
  database.transaction(() => {
    for (const table of tables) database.run(`CREATE TABLE IF NOT EXISTS ${table}`);
    for (const index of indexes) database.run(`CREATE INDEX IF NOT EXISTS ${index}`);
  })();
}
