import type { Digest } from "../oci/mod.ts";
import { compareInputs, type Reason, type StepInputs } from "./reasons.ts";
import { findPast, type StepRecord } from "./records.ts";
import type { StepScope } from "./scope.ts";
import type { Stage } from "./stages.ts";

/** A step that was looked up: what it is, and what stood before it. */
export interface ExplainedStep {
  readonly key: Digest;
  readonly inputs: StepInputs | undefined;
  /** It does not depend on what is below. */
  readonly isLinked?: boolean;
}

/** Tells why the step is not in the cache, by what stood at its place before. */
export async function explain(scope: StepScope, step: ExplainedStep): Promise<Reason[]> {
  const { state, instruction } = scope;
  if (scope.forced !== undefined) return [{ kind: "forced", by: scope.forced }];
  const before = scope.slot && findPast(scope.slot, instruction.text);
  if (!before) return [{ kind: "new" }];
  if (before.key === step.key) return [{ kind: "evicted" }];
  const own = await compareSteps(scope, before, step);
  const isAnew = !step.isLinked && before.parent !== state.key;
  const above: Reason[] = isAnew ? [{ kind: "before", step: state.madeAt ?? 1 }] : [];
  const reasons = [...own, ...above];
  return reasons.length > 0 ? reasons : [{ kind: "new" }];
}

async function compareSteps(
  scope: StepScope,
  before: StepRecord,
  { inputs = {} }: ExplainedStep,
): Promise<Reason[]> {
  const { text } = scope.instruction;
  if (before.text !== text) return [{ kind: "instruction", from: before.text, to: text }];
  return [...compareInputs(before.inputs, inputs), ...(await compareFiles(scope, before, inputs))];
}

async function compareFiles(scope: StepScope, { inputs: old }: StepRecord, now: StepInputs) {
  const { tools, signal } = scope.build;
  const { databasePath: database } = tools;
  const reasons: Reason[] = [];
  const digests = (inputs: StepInputs) => (inputs["content"] ?? {}) as Record<string, string>;
  for (const [name, after] of Object.entries(digests(now))) {
    const before = digests(old)[name];
    if (before === undefined || before === after) continue;
    const request = { database, before, after };
    const found = database && (await tools.trees.run("compare", request, signal));
    if (!found || found.count === 0) {
      reasons.push({ kind: "setting", name: name || "content", from: before, to: after });
      continue;
    }
    const { changes, count } = found;
    reasons.push(...changes.map((change) => ({ kind: "file", ...change }) as const));
    if (count > changes.length) reasons.push({ kind: "files", count: count - changes.length });
  }
  return reasons;
}

/** Notes what the step is now, for the next build to compare with. */
export function noteStep(scope: StepScope, step: ExplainedStep & { parent: Digest }): void {
  const { build, slot, instruction } = scope;
  const { inputs } = step;
  if (slot && inputs) build.tools.records.put(slot, { ...step, inputs, text: instruction.text });
}

/** Tells whether a stage still begins with what it began with. */
export async function settleFrom(scope: StepScope, stage: Stage): Promise<void> {
  const { state } = scope;
  if (stage.base !== undefined) {
    scope.settle(state.madeAt === undefined ? "cached" : "made", []);
    return;
  }
  const inputs = { image: stage.image, base: state.base ?? "" };
  const before = scope.slot && findPast(scope.slot, scope.instruction.text);
  const step = { key: state.key, inputs, parent: state.key };
  const isSame = !before || before.inputs["base"] === inputs.base;
  if (isSame) scope.settle("cached", []);
  else {
    state.madeAt = scope.number;
    scope.settle("made", await compareSteps(scope, before, step));
  }
  noteStep(scope, step);
}
