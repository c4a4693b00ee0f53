import { readCertificates, type TlsOptions } from "./client-certificates.ts";
import type { Routes } from "./client-routes.ts";

/** What one daemon knows of registries beforehand. */
export interface RegistrySettings {
  /** Registries that may be reached without TLS, or with a certificate that nobody vouches for:
   * `host`, `host:port`, or a range of addresses as `10.0.0.0/8`. */
  readonly insecure?: readonly string[];
  /** Folders with `<host:port>/ca.crt`, `client.cert` and `client.key`. */
  readonly certificateFolders?: readonly string[];
  /** Where names lead. */
  readonly routes?: Routes;
}

export const certificateFolders = ["/etc/lading/certs.d", "/etc/docker/certs.d"];

/** A way to reach a registry. */
export interface Endpoint {
  /** `https://host:port`, without a path. */
  readonly origin: string;
  readonly tls: TlsOptions;
}

/** Docker Hub is known by another name than it is reached under. */
const addresses: Readonly<Record<string, string>> = { "docker.io": "registry-1.docker.io" };

/** The ways to reach the registry of references with this domain, in the order to be tried. */
export function endpointsOf(domain: string, settings: RegistrySettings): Endpoint[] {
  const address = addresses[domain] ?? domain;
  const folders = settings.certificateFolders ?? certificateFolders;
  const tls = readCertificates(folders, address);
  const secure = { origin: `https://${address}`, tls };
  if (!isInsecure(address, settings.insecure ?? [])) return [secure];
  const plain = { origin: `http://${address}`, tls: {} };
  // A CA of its own means that somebody cares: it is not waived.
  return [tls.ca ? secure : { ...secure, tls: { ...tls, rejectUnauthorized: false } }, plain];
}

/** True for this host itself, and for those that were named. */
export function isInsecure(address: string, insecure: readonly string[]): boolean {
  const host = hostOf(address);
  if (isLoopback(host)) return true;
  return insecure.some((entry) => {
    if (entry.includes("/")) return isWithin(host, entry);
    return entry === address || entry === host;
  });
}

/** The host without its port. */
export function hostOf(address: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(address);
  return (bracketed?.[1] ?? address.replace(/:\d+$/, "")).toLowerCase();
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function isWithin(host: string, range: string): boolean {
  const [base = "", length = ""] = range.split("/");
  const [at, start] = [numberOf(host), numberOf(base)];
  const bits = Number(length);
  if (at === undefined || start === undefined || !/^\d+$/.test(length) || bits > 32) return false;
  const size = 2 ** (32 - bits);
  return Math.floor(at / size) === Math.floor(start / size);
}

function numberOf(address: string): number | undefined {
  const parts = address.split(".").map(Number);
  const isAddress = parts.length === 4 && parts.every((part) => part >= 0 && part <= 255);
  return isAddress ? parts.reduce((sum, part) => sum * 256 + part, 0) : undefined;
}
