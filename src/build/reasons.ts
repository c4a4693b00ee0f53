/** Why a step was not in the cache: what it depends on now, against what it depended on before. */
import type { FileChange } from "./listing.ts";

/** One thing that a step's being made anew is due to. */
export type Reason =
  /** No build had this step. */
  | { readonly kind: "new" }
  | { readonly kind: "forced"; readonly by: string }
  /** It was there, and its layer has been removed since. */
  | { readonly kind: "evicted" }
  /** A step before it was made anew. */
  | { readonly kind: "before"; readonly step: number }
  | { readonly kind: "instruction"; readonly from: string; readonly to: string }
  | { readonly kind: "base"; readonly name: string; readonly from: string; readonly to: string }
  | {
      readonly kind: "variable";
      readonly of: "ARG" | "ENV";
      readonly name: string;
      readonly from?: string;
      readonly to?: string;
    }
  | ({ readonly kind: "file" } & FileChange)
  /** More files than are told. */
  | { readonly kind: "files"; readonly count: number }
  | { readonly kind: "setting"; readonly name: string; readonly from: string; readonly to: string };

/**
 * What a step depends on, by name. `ENV` and `ARG` are lists of `name=value`; `content` has digests of
 * files, by what they are for.
 */
export type StepInputs = Readonly<Record<string, unknown>>;

const shownMax = 80;

function show(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > shownMax ? `${text.slice(0, shownMax)}…` : text;
}

/** What differs between two sets of inputs, but for files and what came before. */
export function compareInputs(before: StepInputs, now: StepInputs): Reason[] {
  const reasons: Reason[] = [];
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [from, to] = [before[name], now[name]];
    if (name === "content" || JSON.stringify(from) === JSON.stringify(to)) continue;
    if (name === "ENV" || name === "ARG") reasons.push(...compareVariables(name, from, to));
    else if (name === "base") {
      reasons.push({ kind: "base", name: show(now["image"]), from: show(from), to: show(to) });
    } else if (name !== "image") {
      reasons.push({ kind: "setting", name, from: show(from), to: show(to) });
    }
  }
  return reasons;
}

function compareVariables(of: "ARG" | "ENV", before: unknown, now: unknown): Reason[] {
  const [old, fresh] = [pairsOf(before), pairsOf(now)];
  const names = [...new Set([...old.keys(), ...fresh.keys()])];
  const changed = names.filter((name) => old.get(name) !== fresh.get(name));
  return changed.map((name) => {
    const [from, to] = [old.get(name), fresh.get(name)];
    return {
      kind: "variable",
      of,
      name,
      ...(from === undefined ? {} : { from: show(from) }),
      ...(to === undefined ? {} : { to: show(to) }),
    };
  });
}

function pairsOf(list: unknown): Map<string, string> {
  const entries = Array.isArray(list) ? (list as string[]) : [];
  return new Map(
    entries.map((entry) => {
      const equals = entry.indexOf("=");
      return equals < 0 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

const changed: Readonly<Record<FileChange["change"], string>> = {
  added: "is new",
  removed: "is gone",
  content: "has other content",
  mode: "has another mode",
  owner: "has another owner",
  kind: "is another kind of file",
};

/** A reason as a sentence's end: "not in the cache: …". */
export function reasonText(reason: Reason): string {
  switch (reason.kind) {
    case "new":
      return "not built before";
    case "forced":
      return `forced by ${reason.by}`;
    case "evicted":
      return "its layer was removed from the cache";
    case "before":
      return `step ${reason.step} before it was made anew`;
    case "instruction":
      return `the instruction was: ${show(reason.from)}`;
    case "base":
      return `${reason.name} is ${reason.to}, was ${reason.from}`;
    case "variable": {
      const { of, name, from, to } = reason;
      if (from === undefined) return `${of} ${name} is new: ${to}`;
      if (to === undefined) return `${of} ${name} is gone`;
      return `${of} ${name} is "${to}", was "${from}"`;
    }
    case "file":
      return `${reason.path} ${changed[reason.change]}`;
    case "files":
      return `and ${reason.count} more files`;
    case "setting":
      return `${reason.name} is ${reason.to}, was ${reason.from}`;
  }
}
