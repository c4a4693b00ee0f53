/** The build cache, as BuildKit's clients list and prune it. */
import { Failure } from "../base/mod.ts";
import type { Builder, CacheRow } from "../build/mod.ts";
import type { Call } from "./grpc.ts";
import * as messages from "./messages.ts";

export function listUsage(builder: Builder, request: Uint8Array): Uint8Array {
  const isAsked = parseFilter(messages.diskUsageRequest.decode(request).filter);
  const record = builder.cache().filter(isAsked).map(recordOf);
  return messages.diskUsageResponse.encode({ record });
}

/** Tells each row that went. @throws Failure "invalid" | "unsupported" — then nothing went */
export async function prune(builder: Builder, call: Call): Promise<void> {
  const { value } = await call.messages.next();
  const asked = messages.pruneRequest.decode(value ?? new Uint8Array());
  if (asked.minFreeSpace > 0) {
    throw new Failure("unsupported", "Cannot prune until so much of the disk is free", {
      hint: `Use "lading builder prune --min-free-space"`,
    });
  }
  const untilMs = Date.now() - asked.keepDuration / 1e6;
  const isNamed = parseFilter(asked.filter);
  const isAsked = (row: CacheRow) =>
    isNamed(row) && (asked.keepDuration === 0 || row.lastUsedMs < untilMs);
  const keepBytes = Math.max(asked.reservedSpace, asked.maxUsedSpace);
  const { rows } = await builder.prune({ all: asked.all, keepBytes, isAsked });
  // What an image has as well frees nothing.
  for (const row of rows) {
    const size = row.inUse ? 0 : row.sizeBytes;
    await call.write(recordOf({ ...row, sizeBytes: size, inUse: false }));
  }
}

function recordOf(row: CacheRow): Uint8Array {
  return messages.usageRecord.encode({
    id: row.id,
    inUse: row.inUse,
    size: row.sizeBytes,
    description: row.description,
    createdAt: messages.timestamp(row.createdMs),
    lastUsedAt: messages.timestamp(row.lastUsedMs),
    recordType: row.type,
  });
}

/** What a filter can ask about a row. */
const fields: Readonly<Record<string, (row: CacheRow) => string>> = {
  id: ({ id }) => id,
  type: ({ type }) => type,
  description: ({ description }) => description,
  inuse: ({ inUse }) => String(inUse),
  // Nothing here changes once it is made, or belongs to another builder.
  mutable: () => "false",
  immutable: () => "true",
  shared: () => "false",
  private: () => "true",
};
const isFlag = (name: string) => !["id", "type", "description"].includes(name);
const truths: Readonly<Record<string, string>> = { 0: "false", 1: "true" };

/**
 * Filters in containerd's words: one of them must hold, all parts of it. A part is `field`, `field==value`,
 * `field!=value` or `field~=part`. @throws Failure "invalid" — it is none: better than all
 */
function parseFilter(filters: readonly string[]): (row: CacheRow) => boolean {
  const all = filters
    .filter((filter) => filter.trim() !== "")
    .map((filter) => filter.split(",").map(parsePart));
  return (row) => all.length === 0 || all.some((parts) => parts.every((holds) => holds(row)));
}

function parsePart(text: string): (row: CacheRow) => boolean {
  const [, name = "", how, written = ""] = /^(\w+)(?:(==|!=|~=)(.*))?$/s.exec(text.trim()) ?? [];
  const read = fields[name];
  if (!read) {
    throw new Failure("invalid", `invalid filter "${text.slice(0, 100)}"`, {
      hint: `Known are ${Object.keys(fields).join(", ")}`,
    });
  }
  const plain = /^".*"$/s.test(written) ? written.slice(1, -1) : written;
  const value = isFlag(name) ? (truths[plain] ?? plain) : plain;
  if (how === undefined) return (row) => read(row) !== "false";
  if (how === "==") return (row) => read(row) === value;
  if (how === "!=") return (row) => read(row) !== value;
  return (row) => read(row).includes(value);
}
