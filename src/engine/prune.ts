import { Failure, isFailure } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { isRemovable, remove } from "./remove.ts";
import type { Container } from "./types.ts";

type Filters = ReadonlyMap<string, readonly string[]>;

/** As `Engine.prune`: removes what does not run, or only tells what would go. Filters: `until`, `label`, `label!`. */
export async function prune(
  core: Core,
  filters: Filters,
  { isDry }: { isDry: boolean },
): Promise<{ ids: string[]; reclaimedBytes: number }> {
  const isWanted = makeFilter(filters);
  const ids: string[] = [];
  let reclaimedBytes = 0;
  for (const container of core.records.list()) {
    if (!isRemovable(core, container) || !isWanted(container)) continue;
    try {
      const bytes = await core.snapshots.usage(container.id);
      if (!isDry) await remove(core, container.id, { force: false, volumes: false });
      ids.push(container.id);
      reclaimedBytes += bytes;
    } catch (error) {
      // Started, or removed by someone else, since we looked.
      if (!isFailure(error, "conflict") && !isFailure(error, "not_found")) throw error;
    }
  }
  if (isDry) return { ids, reclaimedBytes };
  const attributes = { reclaimed: String(reclaimedBytes) };
  core.events.emit({ type: "container", action: "prune", actor: { id: "", attributes } });
  return { ids, reclaimedBytes };
}

function makeFilter(filters: Filters): (container: Container) => boolean {
  const odd = [...filters.keys()].find((key) => !["until", "label", "label!"].includes(key));
  if (odd !== undefined) throw new Failure("invalid", `invalid filter '${odd}'`);
  const untils = filters.get("until") ?? [];
  if (untils.length > 1) throw new Failure("invalid", "more than one until filter specified");
  const untilMs = untils[0] === undefined ? Infinity : parseUntil(untils[0]);
  const matches = (container: Container, wanted: string) => {
    const at = wanted.indexOf("=");
    const labels = container.config.Labels ?? {};
    if (at < 0) return Object.hasOwn(labels, wanted);
    const [key, value] = [wanted.slice(0, at), wanted.slice(at + 1)];
    return Object.hasOwn(labels, key) && labels[key] === value;
  };
  return (container) =>
    Date.parse(container.created) < untilMs &&
    (filters.get("label") ?? []).every((wanted) => matches(container, wanted)) &&
    !(filters.get("label!") ?? []).some((unwanted) => matches(container, unwanted));
}

const unitsMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A Unix time, a Go duration back from now (`10m`, `1h30m`), or a date. @throws "invalid" */
export function parseUntil(text: string, nowMs: number = Date.now()): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join("") === text) {
    return nowMs - parts.reduce((sum, [, count, unit]) => sum + Number(count) * unitsMs[unit!]!, 0);
  }
  const date = Date.parse(text);
  if (!Number.isNaN(date)) return date;
  throw new Failure("invalid", `invalid until filter: "${text.slice(0, 100)}"`);
}
