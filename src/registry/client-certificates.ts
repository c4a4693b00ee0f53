import { readdirSync, readFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";

/** How TLS with one registry is done. */
export interface TlsOptions {
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

const fileBytesMax = 1 << 20;

/**
 * Reads `<folder>/<host:port>/`: `*.crt` are CAs, `NAME.cert` with `NAME.key` is what we show. The first
 * of the folders that has the registry counts.
 * Spec: https://docs.docker.com/engine/security/certificates/
 * @throws Failure "invalid" — a certificate without key, or the other way round
 */
export function readCertificates(folders: readonly string[], host: string): TlsOptions {
  if (host.includes("/") || host.startsWith(".")) return {};
  for (const folder of folders) {
    const directory = `${folder}/${host}`;
    const names = list(directory);
    if (names.length > 0) return optionsOf(directory, names);
  }
  return {};
}

function optionsOf(directory: string, names: readonly string[]): TlsOptions {
  const ca = names.filter((name) => name.endsWith(".crt")).map((name) => read(directory, name));
  const cert = names.find((name) => name.endsWith(".cert"));
  const key = names.find((name) => name.endsWith(".key"));
  const wanted = cert?.replace(/\.cert$/, ".key") ?? key?.replace(/\.key$/, ".cert");
  if (wanted && !names.includes(wanted)) {
    throw new Failure("invalid", `Cannot use ${directory}: ${wanted} is missing`, {
      hint: "A certificate for the client is NAME.cert with NAME.key; CAs are *.crt",
    });
  }
  return {
    ...(ca.length > 0 ? { ca } : {}),
    ...(cert ? { cert: read(directory, cert) } : {}),
    ...(cert ? { key: read(directory, cert.replace(/\.cert$/, ".key")) } : {}),
  };
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return []; // absent: the system's CAs count
  }
}

function read(directory: string, name: string): string {
  const path = `${directory}/${name}`;
  try {
    const text = readFileSync(path, "utf8");
    if (text.length <= fileBytesMax) return text;
  } catch (cause) {
    throw new Failure("denied", `Cannot read ${path}`, { cause });
  }
  throw new Failure("invalid", `Cannot use ${path}: it is too large for a certificate`);
}
