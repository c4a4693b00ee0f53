import type { EventMessage } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { offsetText } from "./human.ts";
import { checkFilter, parseFilters } from "./key-values.ts";
import { print } from "./output.ts";
import { timeArgument } from "./time-argument.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    filter: {
      kind: "list",
      short: "f",
      word: "filter",
      about: "Show those that match: NAME=VALUE",
      check: checkFilter,
    },
    format: { kind: "string", about: '"json" or a Go template' },
    since: { kind: "string", about: "From this time on" },
    until: { kind: "string", about: "Until this time" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const show = shower(flags.format);
    const query = {
      since: timeArgument(flags.since),
      until: timeArgument(flags.until),
      filters: parseFilters(flags.filter),
    };
    // Not `system.events`: JSON.parse would round the nanoseconds.
    const reply = await engineOf(globals).request("GET", "/events", { query });
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of reply.bytes()) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (line.trim() !== "") print(show(line));
    }
    return 0;
  },
});

function shower(format: string): (line: string) => string {
  if (format === "") return eventText;
  if (format === "json") return (line) => line.trim();
  const { parseTemplate, Row, runTemplate } =
    require("../template/mod.ts") as typeof import("../template/mod.ts");
  let template: ReturnType<typeof parseTemplate>;
  try {
    template = parseTemplate(format);
  } catch (cause) {
    throw new Failure("invalid", `Error parsing format: ${(cause as Error).message}`, { cause });
  }
  return (line) => {
    const { event, nanoseconds } = parseEvent(line);
    const fields: Record<string, unknown> = {
      ID: event.id ?? event.Actor.ID,
      From: event.from ?? "",
      Status: event.status ?? event.Action,
      Type: event.Type,
      Action: event.Action,
      Actor: event.Actor,
      Scope: event.scope,
      Time: event.time,
      TimeNano: nanoseconds,
    };
    const row = new Row(
      "*events.Message",
      new Map(Object.entries(fields).map(([name, value]) => [name, () => value])),
    );
    const raw = /^\s*\{\{\s*json\s+\.\s*\}\}\s*$/.test(format);
    return raw ? line.trim() : runTemplate(template, row);
  };
}

function parseEvent(line: string): { event: EventMessage; nanoseconds: string } {
  const event = JSON.parse(line) as EventMessage;
  // The digits as they came: a double holds too few.
  const found = /"timeNano":\s*(\d+)\s*\}?\s*$/.exec(line) ?? /"timeNano":\s*(\d+)/.exec(line);
  return { event, nanoseconds: found?.[1] ?? `${event.time}000000000` };
}

/** `2026-01-02T03:04:05.000000006Z container start 841a… (image=busybox, name=one)`. */
export function eventText(line: string): string {
  const { event, nanoseconds } = parseEvent(line);
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
  const tail = attributes === "" ? "" : ` (${attributes})`;
  return `${timeText(nanoseconds)} ${event.Type} ${event.Action} ${event.Actor.ID}${tail}`;
}

function timeText(nanoseconds: string): string {
  const seconds = Number(nanoseconds.slice(0, -9));
  const date = new Date(seconds * 1000);
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
  return `${local}.${nanoseconds.slice(-9)}${offset === 0 ? "Z" : offsetText(offset, ":")}`;
}
