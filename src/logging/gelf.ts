import { randomBytes } from "node:crypto";
import { deflateSync, gzipSync } from "node:zlib";
import { Failure } from "../base/mod.ts";
import { parseAddress } from "./address.ts";
import type { Line, LogDriver } from "./lines.ts";
import { attributesOf, type Subject, tagOf } from "./subject.ts";
import { openWire } from "./wire.ts";

type Options = Readonly<Record<string, string>>;

const sendTimeoutMs = 30_000;
/** Of a datagram that goes through every network. */
const chunkBytesMax = 1_420;
const chunkHeadBytes = 12;
const chunksMax = 128;

/**
 * Opens a way to a GELF server. @throws "unavailable" — nobody listens (TCP)
 * Spec: https://go2docs.graylog.org/current/getting_in_log_data/gelf.html
 */
export async function openGelf(subject: Subject, options: Options): Promise<LogDriver> {
  const address = parseAddress("gelf", options)!;
  const message = messageOf(subject, options);
  const wire = await openWire(address);
  const compress = compressionOf(options);
  const pack = (line: Line): Uint8Array[] =>
    address.kind === "tcp" ? [Buffer.from(`${message(line)}\0`)] : chunked(compress(message(line)));
  return {
    send: (lines) =>
      wire.send(lines.filter(({ bytes }) => bytes.length > 0).flatMap(pack), sendTimeoutMs),
    close: () => wire.close(),
  };
}

function messageOf(subject: Subject, options: Options): (line: Line) => string {
  const attributes = Object.entries(attributesOf(subject, options));
  const always = {
    _container_id: subject.id,
    _container_name: subject.name,
    _image_id: subject.imageId,
    _image_name: subject.imageName,
    _command: subject.command,
    _tag: tagOf(subject, options),
    _created: subject.created,
    ...Object.fromEntries(
      attributes.map(([key, value]) => [key.startsWith("_") ? key : `_${key}`, value]),
    ),
  };
  return ({ stream, timeNs, bytes }) =>
    JSON.stringify({
      version: "1.1",
      host: subject.hostname,
      short_message: Buffer.from(bytes).toString("utf8"),
      timestamp: Number(timeNs / 1_000_000n) / 1_000,
      level: stream === 2 ? 3 : 6,
      ...always,
    });
}

function compressionOf({
  "gelf-compression-type": type = "gzip",
  "gelf-compression-level": level = "1",
}: Options): (text: string) => Buffer {
  const options = { level: Number(level) };
  if (type === "none") return (text) => Buffer.from(text);
  return (text) => (type === "zlib" ? deflateSync : gzipSync)(text, options);
}

/** What is too long for one datagram goes in several, that the server joins again. */
export function chunked(bytes: Buffer): Buffer[] {
  if (bytes.length <= chunkBytesMax) return [bytes];
  const room = chunkBytesMax - chunkHeadBytes;
  const count = Math.ceil(bytes.length / room);
  if (count > chunksMax) {
    throw new Failure("exhausted", `Cannot send a GELF message of ${bytes.length} bytes: too long`);
  }
  const id = randomBytes(8);
  return Array.from({ length: count }, (_, at) => {
    const head = Buffer.from([0x1e, 0x0f, ...id, at, count]);
    return Buffer.concat([head, bytes.subarray(at * room, (at + 1) * room)]);
  });
}
