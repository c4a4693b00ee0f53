import { decodeName, encodeName, Failure } from "../base/mod.ts";

/**
 * The records of a PAX extended header, `LENGTH KEY=VALUE\n` each. An empty value deletes an earlier one.
 * Spec: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03
 * @throws Failure "corrupt"
 */
export function parsePax(bytes: Uint8Array): [key: string, value: Buffer][] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const records: [string, Buffer][] = [];
  let at = 0;
  while (at < buffer.length && buffer[at] !== 0) {
    const space = buffer.indexOf(0x20, at);
    const digits = space < 0 || space - at > 10 ? "" : buffer.toString("latin1", at, space);
    const end = /^[0-9]+$/.test(digits) ? at + Number(digits) : 0;
    const equals = buffer.indexOf(0x3d, space);
    if (end <= space || end > buffer.length || equals < 0 || equals >= end) throw broken();
    if (buffer[end - 1] !== 0x0a) throw broken();
    records.push([
      decodeName(buffer.subarray(space + 1, equals)),
      buffer.subarray(equals + 1, end - 1),
    ]);
    at = end;
  }
  return records;
}

const broken = () => new Failure("corrupt", "Cannot read the archive: a PAX record is malformed");

/** One record; its length counts its own digits. */
export function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const bytes = typeof value === "string" ? encodeName(value) : value;
  const tail = Buffer.concat([encodeName(` ${key}=`), bytes, Buffer.from("\n")]);
  let length = tail.length + String(tail.length).length;
  if (String(length).length + tail.length !== length) length++;
  return Buffer.concat([Buffer.from(String(length)), tail]);
}

/** `1700000000.25` as seconds and nanoseconds; a negative time's fraction counts up from its floor. */
export function parsePaxTime(text: string): { seconds: number; nanoseconds: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text);
  if (!match)
    throw new Failure("corrupt", `Cannot read the archive: "${text.slice(0, 40)}" is no time`);
  const [, sign, whole, fraction = ""] = match;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (!sign) return { seconds: Number(whole), nanoseconds };
  if (nanoseconds === 0) return { seconds: 0 - Number(whole), nanoseconds };
  return { seconds: -Number(whole) - 1, nanoseconds: 1e9 - nanoseconds };
}

/** The inverse of `parsePaxTime`, in its shortest form. */
export function paxTime(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(seconds);
  const isNegative = seconds < 0;
  const whole = isNegative ? -seconds - 1 : seconds;
  const fraction = isNegative ? 1e9 - nanoseconds : nanoseconds;
  const digits = String(fraction).padStart(9, "0").replace(/0+$/, "");
  return `${isNegative ? "-" : ""}${whole}.${digits}`;
}
