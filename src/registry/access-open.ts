import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { Failure, fileFailure, log } from "../base/mod.ts";
import { errnoOf } from "../sys/mod.ts";
import { type Access, openAccess } from "./access.ts";
import { basicAccess } from "./access-basic.ts";
import { bearerAccess } from "./access-bearer.ts";
import { type PasswordHashes, Passwords, parseHtpasswd } from "./access-passwords.ts";
import { compileRules, everyUser } from "./access-rules.ts";
import type { RegistryConfig } from "./config.ts";

const lifetimeSeconds = 300;
const refreshSeconds = 30 * 86_400;
const lookEveryMs = 1_000;

/**
 * Chooses how the registry knows its clients: open without any users; Basic with a password file alone;
 * else as the configuration says. The key of tokens is kept in `directory`.
 * @throws Failure "invalid" | "not_found" | "denied" — the password file cannot be read
 */
export function openRegistryAccess({
  config,
  htpasswd,
  directory,
}: {
  config: RegistryConfig;
  htpasswd: string | undefined;
  directory: string;
}): Access {
  const hasUsers = config.passwords.size > 0 || htpasswd !== undefined;
  if (!hasUsers && config.rules.length === 0) return openAccess;
  const file = htpasswd === undefined ? undefined : watchHtpasswd(htpasswd);
  const both = memo((found: PasswordHashes) => new Map([...found, ...config.passwords]));
  const passwords = new Passwords(() => (file ? both(file()) : config.passwords));
  const identify = compileRules(config.rules.length > 0 ? config.rules : [everyUser]);
  const isBasic = config.auth === "basic" || (config.rules.length === 0 && htpasswd !== undefined);
  if (isBasic) return basicAccess(passwords, identify);
  const key = tokenKey(`${directory}/token-key`);
  return bearerAccess({
    ...{ passwords, identify, key, lifetimeSeconds, refreshSeconds },
    ...(config.publicUrl ? { publicUrl: config.publicUrl } : {}),
  });
}

/** The file's users; read again when it has changed. One that cannot be read leaves the last ones. */
function watchHtpasswd(path: string): () => PasswordHashes {
  const read = () => {
    try {
      const stamp = statSync(path);
      return { hashes: parseHtpasswd(readFileSync(path, "utf8"), path), stamp: stampOf(stamp) };
    } catch (cause) {
      if (cause instanceof Failure) throw cause;
      throw fileFailure(`read the password file "${path}"`, cause);
    }
  };
  let now = read();
  let lookedMs = Date.now();
  return () => {
    if (Date.now() - lookedMs < lookEveryMs) return now.hashes;
    lookedMs = Date.now();
    try {
      if (stampOf(statSync(path)) !== now.stamp) now = read();
    } catch (error) {
      log("error", "Cannot read the password file again; the last one holds", { path, error });
    }
    return now.hashes;
  };
}

function stampOf({ mtimeMs, size, ino }: { mtimeMs: number; size: number; ino: number }): string {
  return `${mtimeMs} ${size} ${ino}`;
}

function memo<In extends object, Out>(make: (value: In) => Out): (value: In) => Out {
  let last: { value: In; made: Out } | undefined;
  return (value) => {
    if (last?.value !== value) last = { value, made: make(value) };
    return last.made;
  };
}

/** Made at the first start; tokens outlive a restart. */
function tokenKey(path: string): Uint8Array {
  try {
    const key = readFileSync(path);
    if (key.length >= 32) return key;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
  const key = randomBytes(32);
  writeFileSync(path, key, { mode: 0o600 });
  return key;
}
