import type { Digest } from "../oci/mod.ts";
import type { StepScope } from "./build.ts";
import type { Listener } from "./flight.ts";
import { type LayerStep, newId, throwIfAborted } from "./tools.ts";

/** A step that may make a layer: how to know it again, and how to do it. */
export interface LayerWork {
  /** Equal keys, equal result. */
  readonly key: Digest;
  /** Its line in the history. */
  readonly history: string;
  /** The key says nothing of what is below: the next step's must. */
  readonly isLinked?: boolean;
  /** Makes the layer; undefined when no file changed. Output goes to `tell`. */
  readonly make: (tell: Listener) => Promise<Digest | undefined>;
}

/** Gives the step's layer: from the cache, from a build that makes it right now, or made here. */
export async function layerStep(scope: StepScope, work: LayerWork): Promise<LayerStep> {
  const { build } = scope;
  const { request, tools } = build;
  const known = request.noCache ? undefined : findStep(scope, work.key);
  if (known) {
    scope.cached();
    return known;
  }
  // Without the cache, equal work of two builds is done twice: each wants its own.
  const flight = request.noCache ? newId() : work.key;
  const { value, joined } = await tools.flights.run(flight, scope.output, async (tell) => {
    throwIfAborted(build.signal);
    const layer = await tools.gate.run(async () => {
      throwIfAborted(build.signal);
      return await work.make(tell);
    });
    if (layer) build.pin([layer]);
    const step = { key: work.key, layer, createdMs: Date.now() };
    tools.cache.put({ ...step, description: work.history });
    return step;
  });
  if (joined && value.layer) build.pin([value.layer]);
  return value;
}

/** A cached step whose layer is still here. */
export function findStep({ build }: StepScope, key: Digest): LayerStep | undefined {
  const { cache, snapshots } = build.tools;
  const step = cache.find(key);
  if (!step) return undefined;
  if (step.layer) {
    if (!snapshots.layer(step.layer)) return undefined;
    build.pin([step.layer]);
  }
  return { key, layer: step.layer, createdMs: step.createdMs };
}
