import {
  type Digest,
  digestOf,
  type HistoryEntry,
  type Platform,
  type RunConfig,
} from "../oci/mod.ts";
import type { Lookup } from "./expand.ts";
import type { Place } from "./result.ts";
import { variablesIn } from "./variables.ts";

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** What a stage has become so far. Owned by the task that builds the stage. */
export interface StageState {
  readonly platform: Platform;
  config: Mutable<RunConfig>;
  author: string | undefined;
  layers: Digest[];
  history: HistoryEntry[];
  /** What made each layer, by its place in `layers`; base layers have none. */
  made: Map<number, Place>;
  /** Arguments of this stage, in the order of their ARG; undefined: declared without a value. */
  args: Map<string, string | undefined>;
  /** A CMD stands in this build: ENTRYPOINT then keeps it. */
  hasCommand: boolean;
  /** Names the file system: equal keys, equal content. */
  key: Digest;
  /** Names every instruction so far: for "was this seen before". */
  trail: Digest;
  createdMs: number;
  /** Its base image's `created`; 0 for scratch. */
  readonly baseMs: number;
  /** No file that a step writes is later, seconds since 1970. Undefined: times are as they are. */
  readonly timeMax: number | undefined;
  /** The number of the last step that was not in the cache. */
  madeAt?: number;
  /** The image that this still is, unchanged. */
  base?: Digest;
}

/** The digest of a list of plain values; the one way cache keys are made. */
export function keyOf(...parts: readonly unknown[]): Digest {
  return digestOf(JSON.stringify(parts));
}

/** A copy for a stage that stands on this one: arguments end with their stage. */
export function childOf(state: StageState, platform: Platform): StageState {
  return {
    ...state,
    platform,
    config: { ...state.config },
    layers: [...state.layers],
    history: [...state.history],
    made: new Map(state.made),
    args: new Map(),
  };
}

/** Variables as instructions see them: ENV first, then ARG. */
export function lookupIn(state: StageState): Lookup {
  let variable: Lookup | undefined; // most words name no variable
  return (name) => {
    variable ??= variablesIn(state);
    return variable(name) ?? state.args.get(name);
  };
}

/** The working directory; absolute. */
export function workdirOf(state: StageState): string {
  return state.config.WorkingDir || "/";
}

/** The shell that shell forms run in. */
export function shellOf(state: StageState): readonly string[] {
  return state.config.Shell ?? ["/bin/sh", "-c"];
}

/** Notes an instruction in the history. `withLayer`: it made the last of `layers`. */
export function record(
  state: StageState,
  entry: { text: string; createdMs: number; withLayer: boolean },
): void {
  delete state.base;
  state.createdMs = Math.max(state.createdMs, entry.createdMs);
  state.history.push({
    created: new Date(entry.createdMs).toISOString(),
    created_by: entry.text,
    comment: "buildkit.dockerfile.v0", // scanners know a Dockerfile's history by it
    ...(entry.withLayer ? {} : { empty_layer: true }),
  });
}
