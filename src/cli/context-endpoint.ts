/** `--docker host=…,ca=…`: the engine that a context names. */
import { readFileSync } from "node:fs";
import { parseHost } from "../api/client.ts";
import { Failure, fileFailure } from "../base/mod.ts";
import { type ContextStore, type StoredContext, type TlsTexts, tlsFileNames } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { defaultHost, type Globals } from "./globals.ts";

export const endpointFlags = {
  description: { kind: "string", about: "What it is for" },
  docker: {
    kind: "list",
    about: "host=ADDRESS, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=BOOL, from=CONTEXT",
  },
} as const;

interface Endpoint {
  readonly host: string;
  readonly skipTlsVerify: boolean;
  readonly tls: TlsTexts;
}

const keys = ["host", "ca", "cert", "key", "skip-tls-verify", "from"];

/** Reads the flag, whose values may also be joined by commas. @throws Failure "invalid" */
export function parseEndpoint(
  words: readonly string[],
  { store, globals }: { store: ContextStore; globals: Globals },
): Endpoint {
  const values = new Map<string, string>();
  for (const word of words.flatMap((each) => each.split(","))) {
    const at = word.indexOf("=");
    const key = word.slice(0, Math.max(0, at)).toLowerCase();
    if (!keys.includes(key)) {
      throw new Failure("invalid", `unrecognized config key: ${word.slice(0, 100)}`, {
        hint: `Keys are ${keys.join(", ")}`,
      });
    }
    values.set(key, word.slice(at + 1));
  }
  const from = values.get("from");
  if (from !== undefined) {
    if (values.size > 1) {
      throw new Failure("invalid", `cannot use "from" with other keys of --docker`);
    }
    return endpointOfContext(from, store, globals);
  }
  const host = values.get("host") ?? "";
  if (host === "") throw new Failure("invalid", "docker endpoint configuration needs a host");
  parseHost(host);
  const tls = ["ca", "cert", "key"].flatMap((key) => {
    const path = values.get(key);
    return path ? [[`${key}.pem`, readPem(path)] as const] : [];
  });
  const skip = values.get("skip-tls-verify") ?? "false";
  if (!/^(true|false|1|0)$/.test(skip)) {
    throw new Failure("invalid", `skip-tls-verify takes true or false, not "${skip}"`);
  }
  return { host, skipTlsVerify: skip === "true" || skip === "1", tls: Object.fromEntries(tls) };
}

function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw fileFailure(`read "${path}"`, cause);
  }
}

/** What a context, the default one too, stands for now. */
export function endpointOfContext(name: string, store: ContextStore, globals: Globals): Endpoint {
  if (name !== "default") {
    const { host, skipTlsVerify } = store.get(name);
    return { host, skipTlsVerify, tls: store.tls(name) };
  }
  const host = globals.host[0] ?? process.env["DOCKER_HOST"] ?? defaultHost();
  const folder = process.env["DOCKER_CERT_PATH"] ?? configFolder(globals);
  const isTls = Boolean(process.env["DOCKER_TLS_VERIFY"]) || globals.tls || globals.tlsverify;
  const tls = isTls ? tlsFileNames.map((file) => [file, readPem(`${folder}/${file}`)]) : [];
  return { host, skipTlsVerify: false, tls: Object.fromEntries(tls) };
}

/** A context as `inspect` shows it. */
export function inspectContext(context: StoredContext) {
  const { name, description, host, skipTlsVerify, tlsFiles, metadataPath, tlsPath } = context;
  return {
    Name: name,
    Metadata: description === "" ? {} : { Description: description },
    Endpoints: { docker: { Host: host, SkipTLSVerify: skipTlsVerify } },
    TLSMaterial: tlsFiles.length > 0 ? { docker: tlsFiles } : {},
    Storage: { MetadataPath: metadataPath, TLSPath: tlsPath },
  };
}

/** The default context, which has no files. */
export function defaultContext(globals: Globals): StoredContext {
  const host = globals.host[0] ?? process.env["DOCKER_HOST"] ?? defaultHost();
  const memory = { metadataPath: "<IN MEMORY>", tlsPath: "<IN MEMORY>" };
  return { name: "default", description: "", host, skipTlsVerify: false, tlsFiles: [], ...memory };
}
