/** Registry credentials in `config.json`, where Docker's clients keep them too. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { AuthBody } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";

export const hubAddress = "https://index.docker.io/v1/";

interface ConfigFile {
  auths?: Record<string, { auth?: string; identitytoken?: string }>;
  [other: string]: unknown;
}

function defaultFolder(): string {
  return process.env["DOCKER_CONFIG"] || `${process.env["HOME"] ?? "/root"}/.docker`;
}

/** @throws Failure "corrupt" — it is there but cannot be read as JSON */
export function readConfig(folder = defaultFolder()): ConfigFile {
  const path = `${folder}/config.json`;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as { code?: string }).code === "ENOENT") return {};
    throw new Failure("denied", `Cannot read ${path}`, { cause });
  }
  try {
    return JSON.parse(text) as ConfigFile;
  } catch (cause) {
    throw new Failure("corrupt", `Cannot read ${path}: it is not JSON`, { cause });
  }
}

/** Replaces the file whole; nobody but its owner may read it. */
export function writeConfig(config: ConfigFile, folder = defaultFolder()): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = `${folder}/config.json`;
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(config, null, "\t")}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

/** The registry's address as the configuration names it. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split("/") as [string, ...string[]];
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return !isHost || first === "docker.io" ? hubAddress : first;
}

function decode(address: string, entry: { auth?: string; identitytoken?: string }): AuthBody {
  const [username = "", password = ""] = Buffer.from(entry.auth ?? "", "base64")
    .toString()
    .split(/:(.*)/s);
  const token = entry.identitytoken;
  return { username, password, serveraddress: address, ...(token ? { identitytoken: token } : {}) };
}

/** The credentials for the registry of `image`; undefined when there are none. */
export async function registryAuth(image: string, folder?: string): Promise<AuthBody | undefined> {
  const address = registryOf(image);
  const entry = readConfig(folder).auths?.[address];
  return entry ? decode(address, entry) : undefined;
}

/** All credentials, as a build sends them. */
export function allAuths(folder?: string): Record<string, AuthBody> {
  const entries = Object.entries(readConfig(folder).auths ?? {});
  return Object.fromEntries(entries.map(([address, entry]) => [address, decode(address, entry)]));
}
