import { Failure } from "../base/mod.ts";
import { parseAddress } from "./address.ts";
import { isPlugin } from "./plugin.ts";

type Options = Readonly<Record<string, string>>;

const described = "labels labels-regex env env-regex tag mode max-buffer-size";
const kept = `${described} max-size max-file compress`;
const cached = `${described} cache-disabled cache-max-size cache-max-file cache-compress`;

/** The options that each driver knows. */
const known: Readonly<Record<string, string>> = {
  "json-file": kept,
  local: "max-size max-file compress mode max-buffer-size",
  none: kept,
  syslog:
    `${cached} syslog-address syslog-facility syslog-format syslog-tls-ca-cert syslog-tls-cert ` +
    "syslog-tls-key syslog-tls-skip-verify",
  journald: cached,
  fluentd:
    `${cached} fluentd-address fluentd-async fluentd-async-connect fluentd-async-reconnect-interval ` +
    "fluentd-buffer-limit fluentd-max-retries fluentd-request-ack fluentd-retry-wait " +
    "fluentd-sub-second-precision fluentd-read-timeout fluentd-write-timeout",
  gelf:
    `${cached} gelf-address gelf-compression-type gelf-compression-level gelf-tcp-max-reconnect ` +
    "gelf-tcp-reconnect-delay",
};

/** The names of `--log-driver`. */
export const logDrivers: readonly string[] = Object.keys(known);

/** Whether a driver sends lines to a server. */
export function isRemote(driver: string): boolean {
  return !["json-file", "local", "none"].includes(driver);
}

/** Checks the options of a driver, as far as it takes no server. @throws "invalid" in Docker's words */
export function checkOptions(driver: string, asked: Options): void {
  const names = Object.hasOwn(known, driver) ? known[driver]!.split(" ") : undefined;
  // A plugin alone knows its options; it refuses them when a container starts.
  if (!names && isPlugin(driver)) {
    checkMode(asked);
    return;
  }
  if (!names) {
    const what = `no log driver named '${driver.slice(0, 100)}' is registered`;
    throw new Failure("invalid", `logger: ${what}`, {
      hint: `Use one of ${logDrivers.join(", ")}`,
    });
  }
  const odd = Object.keys(asked).find((key) => !names.includes(key));
  if (odd !== undefined) {
    throw bad(`unknown log opt '${odd.slice(0, 100)}' for ${driver} log driver`);
  }
  checkMode(asked);
  if (!isRemote(driver)) return;
  checkWords(asked);
  if (driver !== "journald") parseAddress(driver, asked);
}

function checkMode({ mode = "", "max-buffer-size": size }: Options): void {
  if (!["", "blocking", "non-blocking"].includes(mode)) {
    throw bad(`logger: logging mode not supported: ${mode.slice(0, 100)}`);
  }
  if (size === undefined) return;
  if (mode !== "non-blocking") {
    throw bad("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  requireBytes("max-buffer-size", size);
}

type Check = (asked: Options, key: string) => void;
const isDuration: Check = (asked, key) => durationMs(asked, key, 0);
const matches = (pattern: RegExp): Check => {
  return (asked, key) => {
    const value = asked[key] ?? "";
    if (pattern.test(value)) return;
    throw bad(`unknown value "${value.slice(0, 100)}" for log opt "${key}"`);
  };
};

const checks: Readonly<Record<string, Check>> = {
  "cache-disabled": flagOf,
  "fluentd-async": flagOf,
  "fluentd-async-connect": flagOf,
  "fluentd-request-ack": flagOf,
  "fluentd-sub-second-precision": flagOf,
  "fluentd-retry-wait": isDuration,
  "fluentd-async-reconnect-interval": isDuration,
  "fluentd-read-timeout": isDuration,
  "fluentd-write-timeout": isDuration,
  "fluentd-buffer-limit": (asked, key) => requireBytes(key, asked[key] ?? ""),
  "fluentd-max-retries": matches(/^\d{1,10}$/),
  "gelf-compression-type": matches(/^(gzip|zlib|none)$/),
  "gelf-compression-level": matches(/^(-1|\d)$/),
  "gelf-tcp-max-reconnect": matches(/^\d{1,9}$/),
  "gelf-tcp-reconnect-delay": matches(/^\d{1,9}$/),
  "syslog-format": matches(/^(rfc3164|rfc5424|rfc5424micro)$/),
};

function checkWords(asked: Options): void {
  for (const [key, value] of Object.entries(asked)) if (value !== "") checks[key]?.(asked, key);
  if (asked["fluentd-async"] && asked["fluentd-async-connect"]) {
    throw bad(
      "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect'",
    );
  }
  const isTcp = asked["gelf-address"]?.startsWith("tcp:") ?? false;
  const compression = ["gelf-compression-type", "gelf-compression-level"];
  if (isTcp && compression.some((key) => key in asked)) {
    throw bad("gelf: compression is only supported on UDP");
  }
  const reconnection = ["gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"];
  if (!isTcp && reconnection.some((key) => key in asked)) {
    throw bad("gelf: reconnection is only supported on TCP");
  }
}

/** Go's words for a truth value. @throws "invalid" */
export function flagOf(asked: Options, key: string): boolean {
  const value = asked[key] ?? "";
  if (["1", "t", "T", "TRUE", "true", "True"].includes(value)) return true;
  if (["", "0", "f", "F", "FALSE", "false", "False"].includes(value)) return false;
  throw bad(`invalid value for ${key}: "${value.slice(0, 100)}" is not a truth value`);
}

const unitsMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** A Go duration. @throws "invalid" */
export function durationMs(asked: Options, key: string, otherwise: number): number {
  const text = asked[key];
  if (!text) return otherwise;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join("") === text) {
    return parts.reduce((sum, [, count, unit]) => sum + Number(count) * unitsMs[unit!]!, 0);
  }
  throw bad(`invalid value for ${key}: invalid duration "${text.slice(0, 100)}"`);
}

const units: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** `10m`, `1.5g`. Undefined when it is no size. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)i?b?$/i.exec(text);
  if (!match) return undefined;
  return Math.ceil(Number(match[1]) * units[match[2]!.toLowerCase()]!);
}

function requireBytes(key: string, text: string): void {
  if (parseBytes(text)) return;
  throw bad(`error parsing option ${key}: invalid size: '${text.slice(0, 100)}'`);
}

function bad(message: string): Failure {
  return new Failure("invalid", message);
}
