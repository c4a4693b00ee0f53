/** The connection of a command to its engine. */
import { type Client, connect, type Tls } from "../api/client.ts";
import { type Globals, hostOf } from "./globals.ts";

export type { Client };

/** A client of the engine that the global flags name; it connects with the first request. */
export function engineOf(globals: Globals): Client {
  const apiVersion = process.env["DOCKER_API_VERSION"];
  const usesTls = globals.tls || globals.tlsverify || Boolean(process.env["DOCKER_TLS_VERIFY"]);
  return connect({
    host: hostOf(globals),
    ...(apiVersion ? { apiVersion } : {}),
    ...(usesTls ? { tls: tlsOf(globals) } : {}),
  });
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

/** Where the client's configuration is: --config, DOCKER_CONFIG or ~/.docker. */
export function configFolder(globals: Globals): string {
  return (
    globals.config || process.env["DOCKER_CONFIG"] || `${process.env["HOME"] ?? "/root"}/.docker`
  );
}
