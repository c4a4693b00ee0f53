import { randomBytes } from "node:crypto";
import { Failure } from "../base/mod.ts";
import { parseAddress } from "./address.ts";
import type { Line, LogDriver } from "./lines.ts";
import { packEntries, packList, packMap, packText, packTime } from "./message-pack.ts";
import { durationMs, flagOf } from "./options.ts";
import { attributesOf, type Subject, tagOf } from "./subject.ts";
import { openWire } from "./wire.ts";

const timeoutMsDefault = 30_000;
const answerBytesMax = 64 << 10;

/**
 * Opens a connection to fluentd. @throws "unavailable" — nobody listens
 * Spec: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1
 */
export async function openFluentd(
  subject: Subject,
  options: Readonly<Record<string, string>>,
): Promise<LogDriver> {
  const tag = packText(tagOf(subject, options));
  const isPrecise = flagOf(options, "fluentd-sub-second-precision");
  const isAcknowledged = flagOf(options, "fluentd-request-ack");
  const writeTimeoutMs = durationMs(options, "fluentd-write-timeout", timeoutMsDefault);
  const readTimeoutMs = durationMs(options, "fluentd-read-timeout", timeoutMsDefault);
  const record = recordOf(subject, options);
  const wire = await openWire(parseAddress("fluentd", options)!);
  const pack = (line: Line, more: readonly Uint8Array[]) =>
    packList([tag, packTime(line.timeNs, isPrecise), record(line), ...more]);
  const acknowledged = async (chunk: string) => {
    for (let answer = ""; !answer.includes(chunk); ) {
      if (answer.length > answerBytesMax) {
        throw new Failure("corrupt", "Cannot read what fluentd answers: it is no acknowledgement");
      }
      answer += Buffer.from(await wire.receive(readTimeoutMs)).toString("latin1");
    }
  };
  return {
    async send(lines) {
      if (!isAcknowledged) {
        await wire.send(
          lines.map((line) => pack(line, [])),
          writeTimeoutMs,
        );
        return;
      }
      for (const line of lines) {
        const chunk = randomBytes(16).toString("base64");
        const answer = acknowledged(chunk);
        answer.catch(() => {}); // `send` fails in the same way, and first
        await wire.send([pack(line, [packMap(packEntries([["chunk", chunk]]))])], writeTimeoutMs);
        await answer;
      }
    },
    close: () => wire.close(),
  };
}

function recordOf(subject: Subject, options: Readonly<Record<string, string>>) {
  const always = packEntries([
    ["container_id", subject.id],
    ["container_name", `/${subject.name}`],
    ...Object.entries(attributesOf(subject, options)),
  ]);
  const sources = {
    1: packEntries([["source", "stdout"]]),
    2: packEntries([["source", "stderr"]]),
  };
  return ({ stream, bytes, part }: Line) => {
    const parts: [string, string][] = part
      ? [
          ["partial_message", "true"],
          ["partial_id", part.id],
          ["partial_ordinal", String(part.ordinal)],
          ["partial_last", String(part.isLast)],
        ]
      : [];
    return packMap(always, sources[stream], packEntries([["log", bytes], ...parts]));
  };
}
