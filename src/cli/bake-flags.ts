/** What a target of a bake file is as flags of `build`. */
import type { Target } from "../bake/mod.ts";

interface Given {
  /** The file that holds its Dockerfile, when the target brings the text. */
  readonly file: string | undefined;
  /** IDs of images by the target that made them. */
  readonly results: ReadonlyMap<string, string>;
}

interface ForAll {
  readonly allow: readonly string[];
  readonly load: boolean;
  readonly push: boolean;
  readonly pull: boolean;
  readonly "no-cache": boolean;
  readonly provenance: string;
  readonly sbom: string;
}

const imageOutput = /(^|,)type=(docker|image|registry)(,|$)/;

const each = (flag: string, values: readonly string[] | undefined): string[] =>
  (values ?? []).map((value) => `--${flag}=${value}`);

const pairs = (flag: string, map: Readonly<Record<string, string | null>> | undefined): string[] =>
  Object.entries(map ?? {}).map(([key, value]) => {
    return value === null ? `--${flag}=${key}` : `--${flag}=${key}=${value}`;
  });

export const targetFlags = {
  /** The flags of one target; its context is not among them. */
  of(target: Target, { file, results }: Given): string[] {
    const contexts = Object.entries(target.contexts ?? {}).map(([name, place]) => {
      const id = results.get(/^target:(.+)$/.exec(place)?.[1] ?? "");
      return `--build-context=${name}=${id === undefined ? place : `docker-image://${id}`}`;
    });
    return [
      ...each("file", file ? [file] : dockerfileOf(target)),
      ...each("tag", target.tags),
      ...pairs("build-arg", target.args),
      ...pairs("label", target.labels),
      ...contexts,
      ...each("add-host", hostsOf(target)),
      ...each("annotation", target.annotations),
      ...each("attest", target.attest),
      ...each("allow", target.entitlements),
      ...each("cache-from", target["cache-from"]),
      ...each("cache-to", target["cache-to"]),
      ...each("no-cache-filter", target["no-cache-filter"]),
      ...each("output", target.output),
      ...each("platform", target.platforms),
      ...each("secret", target.secret),
      ...each("ssh", target.ssh),
      ...each("ulimit", target.ulimits),
      ...each("target", target.target ? [target.target] : []),
      ...each("network", target.network ? [target.network] : []),
      ...each("shm-size", target["shm-size"] ? [target["shm-size"]] : []),
      ...(target["no-cache"] ? ["--no-cache"] : []),
      ...(target.pull ? ["--pull"] : []),
    ];
  },

  /** What `bake` itself was given for all targets. A target that only others need goes nowhere. */
  forAll(
    flags: ForAll,
    { target, isAsked }: { readonly target: Target; readonly isAsked: boolean },
  ): string[] {
    // As with Docker: who writes files has said where the result goes.
    const isImage = (target.output ?? []).every((output) => imageOutput.test(output));
    return [
      ...each("allow", flags.allow),
      ...(flags.load && isAsked ? ["--load"] : []),
      ...(flags.push && isAsked && isImage ? ["--push"] : []),
      ...(flags.pull ? ["--pull"] : []),
      ...(flags["no-cache"] ? ["--no-cache"] : []),
      ...(flags.provenance ? [`--provenance=${flags.provenance}`] : []),
      ...(flags.sbom ? [`--sbom=${flags.sbom}`] : []),
    ];
  },
};

/** A Dockerfile is named from the context, as it is everywhere but in `build -f`. */
function dockerfileOf({ dockerfile, context = "." }: Target): string[] {
  if (!dockerfile) return [];
  const isElsewhere = /^[\w-]+:\/\/|^git@|^github\.com\//.test(context);
  return [dockerfile.startsWith("/") || isElsewhere ? dockerfile : `${context}/${dockerfile}`];
}

const hostsOf = (target: Target): string[] =>
  Object.entries(target["extra-hosts"] ?? {}).map(([name, address]) => `${name}=${address}`);
