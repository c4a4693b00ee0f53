import { Failure, toFailure } from "../base/mod.ts";
import type { Line, LogDriver } from "./lines.ts";
import { attributesOf, type Subject, tagOf } from "./subject.ts";
import { openWire } from "./wire.ts";

const journalSocket = "/run/systemd/journal/socket";
const sendTimeoutMs = 30_000;

/** Opens the host's journal. @throws "unavailable" — none runs */
export async function openJournal(
  subject: Subject,
  options: Readonly<Record<string, string>>,
  path: string = journalSocket,
): Promise<LogDriver> {
  const always = fieldsOf(subject, options);
  try {
    const wire = await openWire({ kind: "unixgram", path });
    return {
      send: (lines) =>
        wire.send(
          lines.map((line) => entryOf(always, line)),
          sendTimeoutMs,
        ),
      close: () => wire.close(),
    };
  } catch (cause) {
    if (toFailure(cause).code !== "unavailable") throw cause;
    throw new Failure("unavailable", "journald is not enabled on this host", { cause });
  }
}

function fieldsOf(subject: Subject, options: Readonly<Record<string, string>>): Buffer {
  const tag = tagOf(subject, options);
  const attributes = Object.entries(attributesOf(subject, options));
  const fields = {
    CONTAINER_ID: subject.id.slice(0, 12),
    CONTAINER_ID_FULL: subject.id,
    CONTAINER_NAME: subject.name,
    CONTAINER_TAG: tag,
    IMAGE_NAME: subject.imageName,
    SYSLOG_IDENTIFIER: tag,
    ...Object.fromEntries(attributes.map(([key, value]) => [fieldName(key), value])),
  };
  const pairs = Object.entries(fields).filter(([name]) => name !== "");
  return Buffer.concat(pairs.map(([name, value]) => field(name, Buffer.from(value))));
}

/** Capitals, digits and "_", and no "_" in front: others the journal does not take. */
export function fieldName(key: string): string {
  return key
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, "_")
    .replace(/^_+/, "");
}

function entryOf(always: Buffer, { stream, timeNs, bytes, part }: Line): Buffer {
  const seconds = new Date(Number(timeNs / 1_000_000n)).toISOString().slice(0, 19);
  const fraction = String(timeNs % 1_000_000_000n).padStart(9, "0");
  const own: [string, string][] = [
    ["PRIORITY", stream === 2 ? "3" : "6"],
    ["SYSLOG_TIMESTAMP", `${seconds}.${fraction}Z`],
  ];
  if (part) {
    own.push(
      ["CONTAINER_PARTIAL_ID", part.id],
      ["CONTAINER_PARTIAL_ORDINAL", String(part.ordinal)],
    );
    own.push(["CONTAINER_PARTIAL_LAST", String(part.isLast)]);
    if (!part.isLast) own.push(["CONTAINER_PARTIAL_MESSAGE", "true"]);
  }
  const rest = own.map(([name, value]) => field(name, Buffer.from(value)));
  return Buffer.concat([always, ...rest, field("MESSAGE", bytes)]);
}

/** https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ */
function field(name: string, value: Uint8Array): Buffer {
  if (!value.includes(10))
    return Buffer.concat([Buffer.from(`${name}=`), value, Buffer.from("\n")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from("\n")]);
}
