/** `GET /events`: what happened and happens, one JSON object a line. */
import { Failure } from "../base/mod.ts";
import type { EngineEvent } from "../engine/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import {
  anyOf,
  type FilterMap,
  matchesLabels,
  matchesName,
  parseFilters,
  timeNs,
} from "./query.ts";

/** One event as text: its time has more digits than a double. */
export function eventText({ type, action, actor, timeNs: time }: EngineEvent): string {
  const { id, attributes } = actor;
  // These three are older than Actor; clients still read them.
  const old =
    type === "container"
      ? { status: action, id, from: attributes["image"] ?? "" }
      : type === "image"
        ? { status: action, id }
        : {};
  const json = JSON.stringify({
    ...old,
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: "local",
    time: Number(time / 1_000_000_000n),
  });
  return `${json.slice(0, -1)},"timeNano":${time}}\n`;
}

/** True when the filters let the event through. */
export function matchesEvent(filters: FilterMap, event: EngineEvent): boolean {
  const { type, action, actor } = event;
  const names = [actor.id, actor.attributes["name"] ?? ""];
  const isNamed = (value: string) =>
    names.some((name) => name === value || (value !== "" && matchesName(`^${value}`, name)));
  const about = (kind: string) =>
    !filters.has(kind) || (type === kind && anyOf(filters, kind, isNamed));
  const aboutImage = () => {
    if (!filters.has("image")) return true;
    const image = type === "image" ? names : [actor.attributes["image"] ?? ""];
    return anyOf(filters, "image", (value) =>
      image.some((name) => name === value || name.replace(/:[^:/]+$/, "") === value),
    );
  };
  return (
    anyOf(filters, "type", (value) => type === value) &&
    anyOf(filters, "event", (value) => action === value || action.startsWith(`${value}:`)) &&
    anyOf(filters, "scope", (value) => value === "local") &&
    matchesLabels(filters, actor.attributes) &&
    about("container") &&
    about("network") &&
    about("volume") &&
    about("daemon") &&
    aboutImage()
  );
}

export async function events(exchange: Exchange, { engine }: Context): Promise<void> {
  const { query, signal } = exchange;
  const filters = parseFilters(query);
  // Here 0 is a time; elsewhere it is what clients send who mean none.
  const sinceNs = query.get("since") === "0" ? 0n : timeNs(query, "since");
  const untilNs = timeNs(query, "until");
  if (sinceNs !== undefined && untilNs !== undefined && sinceNs > untilNs) {
    throw new Failure("invalid", "`since` time cannot be after `until` time");
  }
  const stream = engine.events({
    signal,
    ...(sinceNs === undefined ? {} : { sinceNs }),
    ...(untilNs === undefined ? {} : { untilNs }),
  });
  const reader = stream[Symbol.asyncIterator]();
  // Listen before the answer: what the client does next must show up.
  let next = reader.next();
  next.catch(() => {}); // it is awaited below
  const output = exchange.stream(200, "application/json");
  try {
    for (;;) {
      const { done, value } = await next;
      if (done) return;
      if (matchesEvent(filters, value)) await output.write(eventText(value));
      next = reader.next();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await reader.return?.();
  }
}
