import { Gate, isFailure } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { start } from "./start.ts";
import type { Container } from "./types.ts";

/** Starts at once: more would only get in each other's way. */
const startsMax = 16;

/**
 * Starts containers behind, each after those it needs. One that fails holds nobody up: the others then
 * say themselves what they lack.
 */
export function startInOrder(core: Core, containers: readonly Container[]): void {
  const gate = new Gate(startsMax);
  const starts = new Map<string, Promise<void>>();
  for (const { id } of orderByNeed(containers, (one) => needsOf(core, one))) {
    const needs = needsOf(core, core.records.get(id)).flatMap((need) => starts.get(need) ?? []);
    const done = Promise.withResolvers<void>();
    starts.set(id, done.promise);
    core.background.run(`start of container ${id}`, async () => {
      try {
        await Promise.all(needs);
        if (!core.background.isClosing) await gate.run(() => start(core, id));
      } finally {
        done.resolve();
      }
    });
  }
}

/** Who is needed comes before who needs it; where two need each other, one of them is first. */
export function orderByNeed<T extends { readonly id: string }>(
  all: readonly T[],
  needsOf: (one: T) => readonly string[],
): T[] {
  const byId = new Map(all.map((one) => [one.id, one]));
  const order = new Set<T>();
  const seen = new Set<T>();
  const visit = (one: T) => {
    if (seen.has(one)) return;
    seen.add(one);
    for (const need of needsOf(one)) {
      const other = byId.get(need);
      if (other) visit(other);
    }
    order.add(one);
  };
  for (const one of all) visit(one);
  return [...order];
}

/** Containers whose address, network, processes or shared memory a container asks for. */
function needsOf(core: Core, { hostConfig }: Container): string[] {
  const shared = [hostConfig.NetworkMode, hostConfig.PidMode, hostConfig.IpcMode].flatMap((mode) =>
    mode.startsWith("container:") ? [mode.slice("container:".length)] : [],
  );
  const linked = (hostConfig.Links ?? []).map((link) => link.replace(/^\//, "").split(":")[0]!);
  return [...shared, ...linked].flatMap((nameOrId) => {
    try {
      return [core.records.resolve(nameOrId).id];
    } catch (error) {
      if (isFailure(error, "not_found") || isFailure(error, "conflict")) return [];
      throw error;
    }
  });
}
