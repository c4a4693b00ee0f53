/** The connection of a command to its engine. */
import { type Client, connect, type Tls } from "../api/client.ts";
import { configuredHeaders } from "./configured.ts";
import { configFolder, currentContext, type Globals, hostOf } from "./globals.ts";

export type { Client };
export { configFolder };

/** Where the engine is that the global flags name. @throws "invalid"; "not_found" — such a context */
export function endpointOf(globals: Globals): { host: string; tls?: Tls } {
  const name = currentContext(globals);
  if (name !== "default") return contextEndpoint(name, globals);
  const usesTls = globals.tls || globals.tlsverify || Boolean(process.env["DOCKER_TLS_VERIFY"]);
  return { host: hostOf(globals), ...(usesTls ? { tls: tlsOf(globals) } : {}) };
}

function contextEndpoint(name: string, globals: Globals): { host: string; tls?: Tls } {
  // Only commands with a context pay for its files.
  const { ContextStore } = require("./contexts.ts") as typeof import("./contexts.ts");
  const store = new ContextStore(configFolder(globals));
  const { host, skipTlsVerify } = store.get(name);
  const { "ca.pem": ca, "cert.pem": cert, "key.pem": key } = store.tls(name);
  if (!ca && !cert && !skipTlsVerify) return { host };
  const files = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
  return { host, tls: { ...files, rejectUnauthorized: !skipTlsVerify } };
}

/** A client of the engine that the global flags name; it connects with the first request. */
export function engineOf(globals: Globals): Client {
  const apiVersion = process.env["DOCKER_API_VERSION"];
  const headers = configuredHeaders(globals);
  return connect({ ...endpointOf(globals), headers, ...(apiVersion ? { apiVersion } : {}) });
}

function tlsOf(globals: Globals): Tls {
  // Only commands on TLS pay for node:fs.
  const { existsSync, readFileSync } = require("node:fs") as typeof import("node:fs");
  const folder = process.env["DOCKER_CERT_PATH"] ?? configFolder(globals);
  const read = (named: string, file: string): string | undefined => {
    if (named) return readFileSync(named, "utf8");
    const path = `${folder}/${file}`;
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  };
  const ca = read(globals.tlscacert, "ca.pem");
  const cert = read(globals.tlscert, "cert.pem");
  const key = read(globals.tlskey, "key.pem");
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    rejectUnauthorized: globals.tlsverify || Boolean(process.env["DOCKER_TLS_VERIFY"]),
  };
}
