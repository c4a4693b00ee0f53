/** Sizes and times for people, in Docker's forms. */

/** Go's `%.<digits>g`: significant digits, no trailing zeros, an exponent from 10^digits on. */
function significant(value: number, digits: number): string {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent >= digits || exponent < -4) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e") as [string, string];
    const sign = power.startsWith("-") ? "-" : "+";
    const figures = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    return `${figures}e${sign}${power.replace(/^[+-]/, "").padStart(2, "0")}`;
  }
  const text = value.toPrecision(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

const decimalUnits = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const binaryUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function scaled(
  size: number,
  { base, units, digits }: { base: number; units: string[]; digits: number },
) {
  let value = size;
  let at = 0;
  while (value >= base && at < units.length - 1) {
    value /= base;
    at++;
  }
  return significant(value, digits) + units[at];
}

/** `1.23MB`: powers of 1000. Images and containers have 3 digits, disk usage 4. */
export function humanSize(bytes: number, digits = 3): string {
  return scaled(bytes, { base: 1000, units: decimalUnits, digits });
}

/** `1.234MiB`: powers of 1024, as memory is counted. */
export function binarySize(bytes: number): string {
  return scaled(bytes, { base: 1024, units: binaryUnits, digits: 4 });
}

/** `3 minutes`, `About an hour`, `2 weeks`. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(milliseconds / 3_600_000 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(milliseconds / 3_600_000 / 24 / 365)} years`;
}

/** `3 minutes ago`; "N/A" for no time. */
export function ago(seconds: number, nowMs = Date.now()): string {
  return seconds <= 0 ? "N/A" : `${humanDuration(nowMs - seconds * 1000)} ago`;
}

/** Go's time.Time as text: `2026-01-02 03:04:05 +0100 CET`. */
export function goTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString();
  const clock = `${local.slice(0, 10)} ${local.slice(11, 19)}`;
  return `${clock} ${offsetText(offset, "")} ${zoneName(date, offset)}`;
}

/** `2026-01-02T03:04:05+01:00` in local time. */
export function rfc3339(seconds: number): string {
  const date = new Date(seconds * 1000);
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
  return offset === 0 ? `${local}Z` : local + offsetText(offset, ":");
}

/** `+0100`, or `+01:00` with a separator. */
export function offsetText(minutes: number, separator: string): string {
  const size = Math.abs(minutes);
  const two = (number: number) => String(Math.trunc(number)).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(size / 60)}${separator}${two(size % 60)}`;
}

function zoneName(date: Date, offset: number): string {
  if (offset === 0 && !process.env["TZ"]) return "UTC";
  const format = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });
  const name =
    format.formatToParts(date).find(({ type }) => type === "timeZoneName")?.value ?? "UTC";
  return /^GMT[+-]/.test(name) ? offsetText(offset, "") : name;
}

/** The first 12 digits of an ID, without `sha256:`. */
export function shortId(id: string): string {
  return id.startsWith("sha256:") ? id.slice(7, 19) : id.slice(0, 12);
}

/** At most `max` columns; what is cut off becomes "…". */
export function ellipsis(text: string, max: number): string {
  if (text.length <= max) return text;
  const signs = [...text];
  if (signs.length <= max) return text;
  return max <= 1 ? signs.slice(0, max).join("") : `${signs.slice(0, max - 1).join("")}…`;
}

/** Go's text for an RFC 3339 time with all its nanoseconds, in the time's own zone. */
export function goTimeExact(time: string): string {
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(time);
  if (!found) return time;
  const [, day, clock, rest = "", zone] = found;
  const offset = zone === "Z" ? "+0000 UTC" : `${zone!.replace(":", "")} ${zone!.replace(":", "")}`;
  return `${day} ${clock}${rest.replace(/\.?0+$/, "")} ${offset}`;
}
