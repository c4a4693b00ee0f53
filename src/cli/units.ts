/** Sizes and durations as Docker's users write them. */
import { Failure } from "../base/mod.ts";

const powers = "kmgtp";

/** `512m`, `1.5g`, `2GiB`, `100`: bytes, in powers of 1024. @throws Failure "invalid" */
export function parseSizeBytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s?([kmgtp])?(i?b)?$/i.exec(text);
  if (!found) throw new Failure("invalid", `invalid size: '${text}'`);
  const power = found[2] ? powers.indexOf(found[2].toLowerCase()) + 1 : 0;
  return Math.trunc(Number(found[1]) * 1024 ** power);
}

const nanoseconds: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Go's durations: `1h30m`, `1.5s`, `300ms`, in nanoseconds. @throws Failure "invalid" */
export function parseDurationNs(text: string): number {
  const body = text.replace(/^[+-]/, "");
  if (body === "0") return 0;
  const parts = [...body.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)];
  if (body === "" || parts.map(([whole]) => whole).join("") !== body) {
    const isNumber = /^[\d.]+$/.test(body);
    const quoted = JSON.stringify(text);
    const why = isNumber ? `missing unit in duration ${quoted}` : `invalid duration ${quoted}`;
    throw new Failure("invalid", `time: ${why}`);
  }
  const sum = parts.reduce(
    (total, [, number, unit]) => total + Number(number) * nanoseconds[unit!]!,
    0,
  );
  return text.startsWith("-") ? -sum : sum;
}
