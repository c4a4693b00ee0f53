import type { Heredoc } from "./lines.ts";
import type { Range } from "./source.ts";

/** Words before expansion: variables and quotes are still in them. */
type Raw = string;

/** `name=value` pairs, before expansion. */
export interface Pair {
  readonly name: Raw;
  readonly value: Raw;
}

/** A command as it was written: `["a", "b"]`, or text for the shell. */
export type Command =
  | { readonly form: "exec"; readonly args: readonly string[] }
  | { readonly form: "shell"; readonly text: string; readonly heredocs: readonly Heredoc[] };

/** One `RUN --mount=type=…`; values before expansion. */
export type MountType = "bind" | "cache" | "tmpfs" | "secret" | "ssh";
export interface MountFlag {
  readonly type: MountType;
  readonly options: Readonly<Record<string, Raw>>;
}

/** One `RUN --device=NAME[,required]`: a node's path, or a CDI device or class; before expansion. */
export interface DeviceFlag {
  readonly name: Raw;
  readonly required: boolean;
}

export interface CopyInstruction {
  readonly kind: "copy";
  /** ADD: unpacks local archives, takes URLs. */
  readonly isAdd: boolean;
  readonly sources: readonly Raw[];
  readonly documents: readonly Heredoc[];
  readonly target: Raw;
  readonly from: string;
  readonly chown: Raw;
  readonly chmod: Raw;
  readonly checksum: Raw;
  readonly link: boolean;
  readonly parents: boolean;
  readonly excludes: readonly Raw[];
  /** ADD --unpack; undefined: as the source demands. */
  readonly unpack?: boolean;
  /** ADD --keep-git-dir; undefined: as the address says. */
  readonly keepGitDir?: boolean;
}

export interface FromInstruction {
  readonly kind: "from";
  readonly image: Raw;
  readonly name: string;
  readonly platform: Raw;
}

/** Durations in nanoseconds, as in the image config. */
export interface HealthFlags {
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

export type Action =
  | FromInstruction
  | CopyInstruction
  | {
      readonly kind: "run";
      readonly command: Command;
      readonly mounts: readonly MountFlag[];
      readonly network: "default" | "none" | "host";
      readonly security: "sandbox" | "insecure";
      readonly devices: readonly DeviceFlag[];
    }
  | { readonly kind: "cmd" | "entrypoint"; readonly command: Command }
  | { readonly kind: "healthcheck"; readonly command?: Command; readonly flags: HealthFlags }
  | { readonly kind: "env" | "label"; readonly pairs: readonly Pair[] }
  | { readonly kind: "arg"; readonly args: readonly { name: string; value?: Raw }[] }
  | { readonly kind: "expose" | "volume"; readonly words: readonly Raw[] }
  | { readonly kind: "workdir"; readonly path: Raw }
  | { readonly kind: "user" | "stopsignal"; readonly word: Raw }
  | { readonly kind: "maintainer"; readonly name: string }
  | { readonly kind: "shell"; readonly args: readonly string[] }
  | { readonly kind: "onbuild"; readonly trigger: string };

/** One parsed instruction with its text as written (continuations joined) and its place. */
export type Instruction = Action & {
  readonly text: string;
  readonly range: Range;
  /** The comment lines right above it. */
  readonly comments: readonly string[];
};

export type Kind = Action["kind"];
