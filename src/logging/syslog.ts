import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { Failure, toFailure } from "../base/mod.ts";
import { type Address, parseAddress } from "./address.ts";
import type { Line, LogDriver } from "./lines.ts";
import { type Subject, tagOf } from "./subject.ts";
import { openWire, type Wire } from "./wire.ts";

type Options = Readonly<Record<string, string>>;

const sendTimeoutMs = 30_000;
const [severityOfError, severityOfInfo] = [3, 6];
const facilities: readonly string[] = (
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console clock " +
  "local0 local1 local2 local3 local4 local5 local6 local7"
).split(" ");
const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** `syslog-facility`: a name or a number; "daemon" by default. @throws "invalid" */
export function facilityOf({ "syslog-facility": text = "" }: Options): number {
  if (text === "") return facilities.indexOf("daemon");
  const number = /^\d{1,2}$/.test(text) ? Number(text) : facilities.indexOf(text);
  if (number >= 0 && number < facilities.length) return number;
  throw new Failure("invalid", `invalid syslog facility: ${text.slice(0, 100)}`);
}

/** Opens a connection to a syslog server, or to the host's. @throws "unavailable" | "invalid" */
export async function openSyslog(subject: Subject, options: Options): Promise<LogDriver> {
  const address = parseAddress("syslog", options);
  const format = formatOf(options, { tag: tagOf(subject, options), facility: facilityOf(options) });
  const wire = await openServer(address, options);
  const isFramed = address?.kind === "tls" && /^rfc5424/.test(options["syslog-format"] ?? "");
  return {
    async send(lines) {
      const messages = lines.filter(({ bytes }) => bytes.length > 0).map(format);
      await wire.send(isFramed ? messages.map(framed) : messages, sendTimeoutMs);
    },
    close: () => wire.close(),
  };
}

async function openServer(address: Address | undefined, options: Options): Promise<Wire> {
  if (address) return await openWire(address, address.kind === "tls" ? await tlsOf(options) : {});
  for (const path of ["/dev/log", "/var/run/syslog", "/var/run/log"]) {
    for (const kind of ["unixgram", "unix"] as const) {
      try {
        return await openWire({ kind, path });
      } catch (error) {
        if (toFailure(error).code !== "unavailable") throw error;
      }
    }
  }
  throw new Failure("unavailable", "Unix syslog delivery error: no syslog socket on this host");
}

async function tlsOf(options: Options) {
  const file = async (name: string) => {
    const path = options[`syslog-tls-${name}`];
    return path ? await readFile(path, "utf8") : undefined;
  };
  const [ca, cert, key] = await Promise.all([file("ca-cert"), file("cert"), file("key")]);
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    // Docker asks only whether the option is there.
    rejectUnauthorized: options["syslog-tls-skip-verify"] === undefined,
  };
}

/** https://www.rfc-editor.org/rfc/rfc3164#section-4.1 and https://www.rfc-editor.org/rfc/rfc5424#section-6 */
export function formatOf(
  { "syslog-format": format = "" }: Options,
  { tag, facility, host = hostname() }: { tag: string; facility: number; host?: string },
): (line: Line) => Buffer {
  return ({ stream, timeNs, bytes }) => {
    const priority = facility * 8 + (stream === 2 ? severityOfError! : severityOfInfo!);
    const head = headOf(format, { priority, timeNs, tag, host });
    return Buffer.concat([Buffer.from(head), bytes, Buffer.from("\n")]);
  };
}

type Head = { priority: number; timeNs: bigint; tag: string; host: string };

function headOf(format: string, { priority, timeNs, tag, host }: Head): string {
  const time = new Date(Number(timeNs / 1_000_000n));
  if (!format.startsWith("rfc5424")) {
    const where = format === "rfc3164" ? `${host} ` : "";
    return `<${priority}>${stamp(time)} ${where}${tag}[${process.pid}]: `;
  }
  const micro = String((timeNs / 1_000n) % 1_000_000n).padStart(6, "0");
  const fraction = format === "rfc5424micro" ? `.${micro}` : "";
  const at = `${time.toISOString().slice(0, 19)}${fraction}Z`;
  return `<${priority}>1 ${at} ${host} ${tag} ${process.pid} ${tag} - `;
}

/** `Jan _2 15:04:05`, in local time. */
function stamp(time: Date): string {
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()];
  const day = String(time.getDate()).padStart(2, " ");
  return `${months[time.getMonth()]} ${day} ${clock.map((n) => String(n).padStart(2, "0")).join(":")}`;
}

/** https://www.rfc-editor.org/rfc/rfc5425#section-4.3 */
function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${message.length} `), message]);
}
