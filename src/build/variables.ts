/**
 * A stage's variables and labels, changed in place with an index beside them: to copy and to count ten thousand
 * of them for each line that adds one takes half a minute. A state gets lists of its own at its first change, so
 * that a base image and the stages on this one keep theirs.
 */
import type { StageState } from "./state.ts";

/** Where a name stands in the list: a base image may have it twice, and the last one counts. */
interface Places {
  readonly first: number;
  readonly last: number;
}

interface Variables {
  readonly entries: string[];
  count: number;
  readonly places: Map<string, Places>;
  /** Characters of all entries. */
  length: number;
}

interface Labels {
  readonly values: Record<string, string>;
  count: number;
  /** Characters of all names and values. */
  length: number;
}

const ownVariables = new WeakMap<StageState, Variables>();
const ownLabels = new WeakMap<StageState, Labels>();

function split(entry: string): [name: string, value: string] {
  const equals = entry.indexOf("=");
  return equals < 0 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
}

function variablesOf(state: StageState): Variables {
  const known = ownVariables.get(state);
  if (known) return known;
  const entries = [...(state.config.Env ?? [])];
  const variables: Variables = { entries, places: new Map(), count: 0, length: 0 };
  for (const [at, entry] of entries.entries()) note(variables, entry, at);
  state.config.Env = entries;
  ownVariables.set(state, variables);
  return variables;
}

function note(variables: Variables, entry: string, at: number): void {
  const [name] = split(entry);
  variables.places.set(name, { first: variables.places.get(name)?.first ?? at, last: at });
  variables.count++;
  variables.length += entry.length;
}

/** The environment as a map; a later entry wins. */
export function environmentOf(state: StageState): Map<string, string> {
  return new Map((state.config.Env ?? []).map(split));
}

/** The environment by name, as it is now: for one instruction. */
export function variablesIn(state: StageState): (name: string) => string | undefined {
  const known = ownVariables.get(state);
  if (!known) {
    const environment = environmentOf(state);
    return (name) => environment.get(name);
  }
  return (name) => {
    const found = known.places.get(name);
    return found && split(known.entries[found.last]!)[1];
  };
}

/** `ENV name=value`: in place when it is there already. */
export function setEnvironment(state: StageState, name: string, value: string): void {
  const variables = variablesOf(state);
  const { entries, places } = variables;
  const start = `${name}=`;
  // A name that a variable gave may hold a "=": the index has what stands before the first one.
  const at = name.includes("=")
    ? entries.findIndex((entry) => entry.startsWith(start))
    : (places.get(name)?.first ?? -1);
  const entry = start + value;
  if (at < 0) note(variables, entry, entries.push(entry) - 1);
  else {
    variables.length += entry.length - entries[at]!.length;
    entries[at] = entry;
  }
}

function labelsOf(state: StageState): Labels {
  const known = ownLabels.get(state);
  if (known) return known;
  const values = { ...state.config.Labels };
  const names = Object.keys(values);
  const length = names.reduce((sum, name) => sum + name.length + values[name]!.length, 0);
  const labels = { values, count: names.length, length };
  state.config.Labels = values;
  ownLabels.set(state, labels);
  return labels;
}

/** `LABEL name=value`: in place when it is there already. */
export function setLabel(state: StageState, name: string, value: string): void {
  const labels = labelsOf(state);
  const { values } = labels;
  if (Object.hasOwn(values, name)) labels.length += value.length - values[name]!.length;
  else {
    labels.count++;
    labels.length += name.length + value.length;
  }
  // An assignment to "__proto__" would set no label.
  const how = { value, writable: true, enumerable: true, configurable: true };
  Object.defineProperty(values, name, how);
}

/** How many variables and labels there are, and how long all of them. */
export function sizesOf(state: StageState): { readonly counts: number[]; readonly length: number } {
  const variables = ownVariables.get(state) ?? measured(state.config.Env ?? []);
  const labels =
    ownLabels.get(state) ?? measured(Object.entries(state.config.Labels ?? {}).flat(), 2);
  return { counts: [variables.count, labels.count], length: variables.length + labels.length };
}

function measured(texts: readonly string[], each = 1) {
  return { count: texts.length / each, length: texts.reduce((sum, text) => sum + text.length, 0) };
}

/** Ends the indexes of a stage that changes no more. */
export function forgetIndexes(state: StageState): void {
  ownVariables.delete(state);
  ownLabels.delete(state);
}
