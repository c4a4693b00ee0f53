/** Times as people give them to `--since` and `--until`. */
import { Failure } from "../base/mod.ts";
import { parseDurationNs } from "./units.ts";

/**
 * Seconds since the epoch, with a fraction: from seconds, a date (RFC 3339, parts of it may be left
 * out; local time without a zone), or a duration before `nowMs`. "" stays "".
 * @throws Failure "invalid"
 */
export function timeArgument(text: string, nowMs = Date.now()): string {
  if (text === "" || /^\d+(\.\d+)?$/.test(text)) return text;
  if (/^-?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    const then = nowMs - parseDurationNs(text) / 1e6;
    return `${Math.floor(then / 1000)}.${fraction((then / 1000) % 1)}`;
  }
  const date =
    /^(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d))?(?::(\d\d)(\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?$/.exec(text);
  if (!date) throw new Failure("invalid", `failed to parse value as time or duration: "${text}"`);
  const [, day, hour = "00", minute = "00", second = "00", rest = ".0", zone = ""] = date;
  const seconds = Date.parse(`${day}T${hour}:${minute}:${second}${zone}`) / 1000;
  if (Number.isNaN(seconds)) {
    throw new Failure("invalid", `failed to parse value as time or duration: "${text}"`);
  }
  return `${seconds}.${rest.slice(1).padEnd(9, "0").slice(0, 9)}`;
}

function fraction(seconds: number): string {
  return String(Math.floor(seconds * 1e9)).padStart(9, "0");
}
