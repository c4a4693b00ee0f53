import type { Digest } from "../oci/mod.ts";
import { explain, noteStep } from "./explain.ts";
import type { Listener } from "./flight.ts";
import type { StepInputs } from "./reasons.ts";
import type { StepScope } from "./scope.ts";
import { type LayerStep, newId, throwIfAborted } from "./tools.ts";

/** A step that may make a layer: how to know it again, and how to do it. */
export interface LayerWork {
  /** Equal keys, equal result. */
  readonly key: Digest;
  /** What went into the key, for an explanation; undefined: it was found by a shorter way. */
  readonly inputs: StepInputs | undefined;
  /** Its line in the history. */
  readonly history: string;
  /** The key says nothing of what is below: the next step's must. */
  readonly isLinked?: boolean;
  /** Makes the layer; undefined when no file changed. Output goes to `tell`. */
  readonly make: (tell: Listener) => Promise<Digest | undefined>;
}

/** Gives the step's layer: from the cache, from a build that makes it right now, or made here. */
export async function layerStep(scope: StepScope, work: LayerWork): Promise<LayerStep> {
  const { state } = scope;
  const known = scope.forced === undefined ? await findAnywhere(scope, work.key) : undefined;
  const note = { key: work.key, inputs: work.inputs, parent: state.key };
  if (known) {
    scope.cached();
    noteStep(scope, note);
    return known;
  }
  const reasons = explain(scope, work);
  reasons.catch(() => {}); // awaited below, once the work is done
  const { value, joined } = await makeStep(scope, work);
  state.madeAt = scope.number;
  scope.settle(joined ? "reused" : "made", await reasons);
  noteStep(scope, note);
  return value;
}

async function makeStep(scope: StepScope, work: LayerWork) {
  const { build } = scope;
  const { tools } = build;
  // Without the cache, equal work of two builds is done twice: each wants its own.
  const flight = scope.forced === undefined ? work.key : newId();
  const made = await tools.flights.run(flight, scope.output, async (tell) => {
    throwIfAborted(build.signal);
    let costMs = 0;
    const layer = await tools.gate.run(async () => {
      throwIfAborted(build.signal);
      const began = performance.now();
      const made = await work.make(tell);
      costMs = performance.now() - began;
      return made;
    });
    if (layer) build.pin([layer]);
    const step = { key: work.key, layer, createdMs: Date.now() };
    tools.cache.put({ ...step, description: work.history, costMs });
    if (layer) tools.grew(tools.snapshots.layer(layer)?.sizeBytes ?? 0);
    return step;
  });
  if (made.joined && made.value.layer) build.pin([made.value.layer]);
  return made;
}

/** A cached step, or one that another cache has. */
export async function findAnywhere(scope: StepScope, key: Digest): Promise<LayerStep | undefined> {
  return findStep(scope, key) ?? (await scope.build.request.imported?.find(scope, key));
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
