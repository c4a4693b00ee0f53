/** Contexts, in the files of Docker's clients below `contexts/`: names of engines with their TLS files. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Failure, fileFailure } from "../base/mod.ts";

export interface StoredContext {
  readonly name: string;
  readonly description: string;
  readonly host: string;
  readonly skipTlsVerify: boolean;
  /** Names of TLS files: `ca.pem`, `cert.pem`, `key.pem`. */
  readonly tlsFiles: readonly string[];
  readonly metadataPath: string;
  readonly tlsPath: string;
}

/** What `meta.json` says. */
export interface ContextMeta {
  readonly Name: string;
  readonly Metadata: { readonly Description?: string; readonly [other: string]: unknown };
  readonly Endpoints: {
    readonly docker?: { readonly Host?: string; readonly SkipTLSVerify?: boolean };
  };
}

export const tlsFileNames = ["ca.pem", "cert.pem", "key.pem"] as const;
export type TlsTexts = Readonly<Partial<Record<(typeof tlsFileNames)[number], string>>>;

/** @throws Failure "invalid" */
export function checkContextName(name: string): void {
  if (name === "default") {
    throw new Failure("invalid", `"default" is a reserved context name`);
  }
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.+-]{0,200}$/.test(name)) return;
  const rule = '"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"';
  throw new Failure(
    "invalid",
    `context name "${name.slice(0, 100)}" is invalid, names are validated against regexp ${rule}`,
  );
}

/** The folders of contexts below the client's configuration. */
export class ContextStore {
  readonly #folder: string;

  constructor(configFolder: string) {
    this.#folder = `${configFolder}/contexts`;
  }

  #paths(name: string) {
    const id = createHash("sha256").update(name).digest("hex");
    return { meta: `${this.#folder}/meta/${id}`, tls: `${this.#folder}/tls/${id}` };
  }

  /** By name. @throws "corrupt" — a file that is none of ours nor Docker's */
  list(): StoredContext[] {
    const names = namesIn(`${this.#folder}/meta`).map(
      (id) => readMeta(`${this.#folder}/meta/${id}/meta.json`)?.Name,
    );
    return names
      .flatMap((name) => (name === undefined ? [] : [this.get(name)]))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  has(name: string): boolean {
    return readMeta(`${this.#paths(name).meta}/meta.json`) !== undefined;
  }

  /** @throws Failure "not_found" in Docker's words */
  get(name: string): StoredContext {
    const { meta: metadataPath, tls: tlsPath } = this.#paths(name);
    const meta = readMeta(`${metadataPath}/meta.json`);
    if (!meta) {
      const reason = `context "${name.slice(0, 100)}": context not found`;
      throw new Failure("not_found", reason, { hint: `"lading context ls" lists them` });
    }
    const { Host = "", SkipTLSVerify = false } = meta.Endpoints.docker ?? {};
    return {
      name,
      description: meta.Metadata.Description ?? "",
      host: Host,
      skipTlsVerify: SkipTLSVerify,
      tlsFiles: namesIn(`${tlsPath}/docker`),
      metadataPath,
      tlsPath,
    };
  }

  tls(name: string): TlsTexts {
    const { tlsPath, tlsFiles } = this.get(name);
    const known = tlsFileNames.filter((file) => tlsFiles.includes(file));
    return Object.fromEntries(
      known.map((file) => [file, readFileSync(`${tlsPath}/docker/${file}`, "utf8")]),
    );
  }

  /** Makes or replaces a context; its TLS files come first, so that it never lacks them. */
  put(meta: ContextMeta, tls: TlsTexts): void {
    const paths = this.#paths(meta.Name);
    rmSync(`${paths.tls}/docker`, { recursive: true, force: true });
    for (const [file, text] of Object.entries(tls)) {
      mkdirSync(`${paths.tls}/docker`, { recursive: true, mode: 0o700 });
      writeFileSync(`${paths.tls}/docker/${file}`, text, { mode: 0o600 });
    }
    mkdirSync(paths.meta, { recursive: true, mode: 0o755 });
    const fresh = `${paths.meta}/meta.json.${process.pid}`;
    writeFileSync(fresh, JSON.stringify(meta), { mode: 0o644 });
    renameSync(fresh, `${paths.meta}/meta.json`);
  }

  remove(name: string): void {
    const paths = this.#paths(name);
    rmSync(paths.meta, { recursive: true, force: true });
    rmSync(paths.tls, { recursive: true, force: true });
  }
}

export function metaOf({
  name,
  description,
  host,
  skipTlsVerify,
}: Omit<StoredContext, "tlsFiles" | "metadataPath" | "tlsPath">): ContextMeta {
  return {
    Name: name,
    Metadata: description === "" ? {} : { Description: description },
    Endpoints: { docker: { Host: host, SkipTLSVerify: skipTlsVerify } },
  };
}

/** @throws Failure "corrupt" */
export function parseMeta(text: string, where: string): ContextMeta {
  try {
    const meta = JSON.parse(text) as Partial<ContextMeta>;
    if (typeof meta.Name === "string") {
      return { Name: meta.Name, Metadata: meta.Metadata ?? {}, Endpoints: meta.Endpoints ?? {} };
    }
  } catch (cause) {
    throw new Failure("corrupt", `Cannot read ${where}: it is not JSON`, { cause });
  }
  throw new Failure("corrupt", `Cannot read ${where}: it names no context`);
}

function readMeta(path: string): ContextMeta | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fileFailure(`read "${path}"`, cause);
  }
  return parseMeta(text, path);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // no context was made yet
  }
}
