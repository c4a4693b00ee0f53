import { type Code, Failure } from "../base/mod.ts";
import { failureCodeOf } from "./protocol.ts";

/** What a registry answered when it refused; `wire` is its own code, empty when it gave none. */
export class RegistryFailure extends Failure {
  readonly wire: string;
  readonly status: number;

  constructor(code: Code, message: string, about: { wire: string; status: number; hint?: string }) {
    super(code, message, about.hint ? { hint: about.hint } : {});
    this.wire = about.wire;
    this.status = about.status;
  }
}

const textMax = 500;

/** The body of a refusal as a Failure, in the form that Docker's clients know: `denied: …`. */
export function refusalOf(status: number, body: string, what: string): RegistryFailure {
  const { wire: told, message } = firstError(body);
  const wire = told || wireOf(status); // an answer to HEAD has no body
  const code = failureCodeOf(wire, status);
  const words = wire.toLowerCase().replaceAll("_", " ");
  const said = message || defaultMessage(status);
  const text = words ? `${words}: ${said}` : `${what}: received status ${status}: ${said}`;
  return new RegistryFailure(code, text, { wire, status });
}

function wireOf(status: number): string {
  if (status === 401) return "UNAUTHORIZED";
  if (status === 403) return "DENIED";
  return status === 429 ? "TOOMANYREQUESTS" : "";
}

function defaultMessage(status: number): string {
  if (status === 401) return "authentication required";
  if (status === 403) return "requested access to the resource is denied";
  if (status === 404) return "not found";
  return status === 429 ? "too many requests" : "the registry gave no reason";
}

function firstError(body: string): { wire: string; message: string } {
  const value = parse(body);
  const [first] = listIn(value, "errors");
  if (first !== undefined) {
    return { wire: textIn(first, "code"), message: textIn(first, "message") };
  }
  // Token servers answer in several ways.
  const message = textIn(value, "details") || textIn(value, "message") || textIn(value, "error");
  return { wire: "", message };
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined; // a page for people, or nothing: the status says what there is to say
  }
}

function listIn(value: unknown, name: string): unknown[] {
  const found = fieldOf(value, name);
  return Array.isArray(found) ? found : [];
}

function textIn(value: unknown, name: string): string {
  const found = fieldOf(value, name);
  return typeof found === "string" ? printable(found).slice(0, textMax) : "";
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

/** A registry's words end on a terminal: nothing that moves its cursor. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
}

const reasons: Readonly<Record<string, string>> = {
  ConnectionRefused: "connect: connection refused",
  ECONNREFUSED: "connect: connection refused",
  ConnectionClosed: "the connection was closed",
  ECONNRESET: "the connection was reset",
  FailedToOpenSocket: "the host cannot be reached",
  ENOTFOUND: "no such host",
  ERR_TLS_CERT_ALTNAME_INVALID: "it is made out to other names than this host's",
  CERT_HAS_EXPIRED: "it has expired",
};

const certificateCodes = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/;

/** What fetch threw, as a Failure that names the address. */
export function connectionFailure(error: unknown, method: string, url: string): Failure {
  if (error instanceof Failure) return error;
  const { code = "", message = String(error) } = error as { code?: string; message?: string };
  const call = method.charAt(0) + method.slice(1).toLowerCase();
  const text = (why: string) => `${call} "${url}": ${why}`;
  if (certificateCodes.test(String(code))) {
    const why = reasons[code] ?? message.replace(/ For more information, pass .*$/s, "");
    return new Failure("denied", text(`tls: failed to verify certificate: ${why}`), {
      hint: "Put the registry's CA into certs.d/HOST/ca.crt, or start the engine with --insecure-registry HOST",
      cause: error,
    });
  }
  if (code === "EPROTO") {
    return new Failure("unavailable", text("the TLS handshake failed"), {
      hint: "It may want a certificate of ours: certs.d/HOST/client.cert with client.key; if it has no TLS, start the engine with --insecure-registry HOST",
      cause: error,
    });
  }
  return new Failure("unavailable", text(reasons[code] ?? message), { cause: error });
}

/** True for a failure that the next try may not meet. */
export function isPassing(error: unknown): boolean {
  if (error instanceof RegistryFailure) return isPassingStatus(error.status);
  return error instanceof Failure && (error.code === "unavailable" || error.code === "timeout");
}

export function isPassingStatus(status: number): boolean {
  return status === 429 || status === 408 || (status >= 500 && status !== 501 && status !== 505);
}
