/** What every answer begins with, and how a Failure becomes a status and a body. */
import { type Code, Failure, log, toFailure } from "../base/mod.ts";

export const apiVersion = "1.51";
/** libnss-docker and rawdns ask for 1.21, skopeo for 1.22; what they need has not changed since. */
export const apiVersionMin = "1.21";

/** The first release of Docker with this API: tools ask for engines by such numbers ("20.10 or newer"). */
const dockerVersion = "28.3.0";

/** The engine's version as tools compare it, ours behind the plus sign, which comparisons leave out. */
export function engineVersion(own: string): string {
  return `${dockerVersion}+lading.${own}`;
}

const reasons: Readonly<Record<number, string>> = {
  101: "UPGRADED",
  200: "OK",
  201: "Created",
  204: "No Content",
  301: "Moved Permanently",
  304: "Not Modified",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  409: "Conflict",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

const statuses: Readonly<Record<Code, number>> = {
  invalid: 400,
  not_found: 404,
  conflict: 409,
  denied: 403,
  unsupported: 501,
  unavailable: 503,
  timeout: 500,
  corrupt: 500,
  exhausted: 500,
  not_modified: 304,
  internal: 500,
};

let dateSecond = 0;
let dateText = "";
let serverName = "Lading";

/** Sets the `Server` header. */
export function nameServer(version: string): void {
  serverName = `Lading/${version} (linux)`;
}

/** The first line and the headers of all answers; without the empty line. */
export function answerHead(status: number, protocol: "HTTP/1.0" | "HTTP/1.1" = "HTTP/1.1"): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return (
    `${protocol} ${status} ${reasons[status] ?? "Unknown"}\r\nApi-Version: ${apiVersion}\r\n` +
    `Docker-Experimental: false\r\nOstype: linux\r\nServer: ${serverName}\r\nDate: ${dateText}\r\n`
  );
}

/** A failure that carries the exit code which `docker run` shall end with. */
type WithExitCode = { readonly exitCode?: number };

/** The status for a Failure. */
export function statusOf(failure: Failure): number {
  // A command that cannot be found or run is the caller's mistake, as Docker has it.
  const { exitCode } = failure as WithExitCode;
  if (exitCode === 126 || exitCode === 127) return 400;
  // What `create` took and `start` cannot do is no fault of the request to start.
  if (exitCode === 128 && failure.code === "invalid") return 500;
  return statuses[failure.code];
}

/** Message and hint as one text, for clients that know only messages. */
export function messageOf(failure: Failure): string {
  if (failure.hint === undefined) return failure.message;
  // After a drawing of several lines the hint stands on one of its own.
  const joint = failure.message.includes("\n") ? "\n" : ". ";
  return `${failure.message.replace(/[.\s]+$/, "")}${joint}${failure.hint}`;
}

/** Status and JSON for whatever was thrown. */
export function errorAnswer(error: unknown): { status: number; text: string } {
  const failure = toFailure(error);
  const status = statusOf(failure);
  if (!(error instanceof Failure)) log("error", "A request failed unexpectedly", { error });
  const hint = failure.hint === undefined ? {} : { hint: failure.hint };
  return { status, text: `${JSON.stringify({ message: messageOf(failure), ...hint })}\n` };
}
