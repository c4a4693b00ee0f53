/** The flags of `build`, and the query that they make. */
import type { BuildQuery } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { toMap } from "./key-values.ts";
import { checkUlimit, parseUlimit } from "./limit-flags.ts";
import { csvFields } from "./mount-flags.ts";
import { checkHost } from "./run-flags.ts";

function checkProgress(value: string): void {
  if (!["auto", "plain", "tty", "quiet", "json", "rawjson", "none"].includes(value)) {
    throw new Failure("invalid", `invalid progress mode: ${value}`);
  }
}

export const buildFlags = {
  "add-host": {
    kind: "list",
    about: "Add a line to /etc/hosts of RUN: NAME:ADDRESS",
    check: checkHost,
  },
  allow: {
    kind: "list",
    about: "Let the Dockerfile reach the host: network.host, security.insecure, device or fs.read",
  },
  annotation: {
    kind: "list",
    about: "Annotate the image: [TYPE[PLATFORM]:]KEY=VALUE",
  },
  attest: { kind: "list", about: "Attach a statement: type=provenance,mode=max or type=sbom" },
  "build-arg": {
    kind: "list",
    about: "Value of an ARG: NAME=VALUE, or NAME to pass the environment's on",
  },
  "build-context": {
    kind: "list",
    word: "context",
    about: "A place that the Dockerfile knows by a name: NAME=FOLDER, NAME=docker-image://IMAGE, …",
  },
  builder: { kind: "string", about: "Taken for compatibility", hidden: true },
  "cache-from": {
    kind: "list",
    word: "cache",
    about: "A cache to look in: NAME, type=registry,ref=NAME or type=local,src=DIR",
  },
  "cache-to": {
    kind: "list",
    word: "cache",
    about: "Where the cache goes: type=registry,ref=NAME or type=local,dest=DIR, and mode=min|max",
  },
  call: {
    kind: "string",
    default: "build",
    about: "Ask about the Dockerfile instead of building: check, outline or targets[,format=json]",
  },
  "cgroup-parent": { kind: "string", about: "Parent of the cgroup of RUN" },
  check: { kind: "bool", about: "Shorthand for --call=check" },
  compress: { kind: "bool", about: "Taken for compatibility", hidden: true },
  "cpu-period": { kind: "int", about: "Period of the CFS quota of RUN, microseconds" },
  "cpu-quota": { kind: "int", about: "CFS quota of RUN in a period, microseconds" },
  "cpu-shares": { kind: "int", short: "c", about: "Relative weight of RUN" },
  "cpuset-cpus": { kind: "string", about: "Processors that RUN may use" },
  "cpuset-mems": { kind: "string", about: "Memory nodes that RUN may use" },
  "disable-content-trust": {
    kind: "bool",
    default: true,
    about: "Taken for compatibility; without effect",
    hidden: true,
  },
  explain: {
    kind: "string",
    bare: "text",
    word: "format",
    about: "Say why each step was not in the cache; --explain=json as one value at the end",
    check: (value) => {
      if (value === "text" || value === "json") return;
      throw new Failure("invalid", `invalid explanation "${value}": it is text or json`);
    },
  },
  file: { kind: "string", short: "f", about: "Dockerfile (default PATH/Dockerfile); - is STDIN" },
  "force-rm": { kind: "bool", about: "Taken for compatibility", hidden: true },
  iidfile: { kind: "string", about: "Write the image's ID to this file" },
  isolation: {
    kind: "string",
    about: "Isolation of RUN; Linux has none but default",
    hidden: true,
  },
  label: { kind: "list", about: "Set a label: NAME=VALUE" },
  load: { kind: "bool", about: "Put the image into the store: -o type=docker" },
  memory: { kind: "bytes", short: "m", about: "Most memory for RUN" },
  "memory-swap": { kind: "endless", about: "Most memory and swap together; -1 for endless swap" },
  network: {
    kind: "string",
    default: "default",
    about: "Network of RUN: default, none, host or container:NAME",
  },
  "metadata-file": { kind: "string", about: "Write what the build came to to this file, as JSON" },
  "no-cache": { kind: "bool", about: "Do not use the cache" },
  "no-cache-filter": { kind: "list", about: "Do not use the cache for these stages" },
  output: {
    kind: "list",
    short: "o",
    about: "Where the result goes: DIR, - (tar to STDOUT) or type=TYPE,KEY=VALUE",
  },
  platform: { kind: "list", about: "Platform of the image; several make an index" },
  progress: {
    kind: "string",
    default: "auto",
    about: "How progress is shown: auto, plain, tty, json or quiet",
    check: checkProgress,
  },
  provenance: { kind: "string", about: "Tell how the image was made: true, false or mode=min|max" },
  pull: { kind: "bool", about: "Look for newer base images first" },
  push: { kind: "bool", about: "Push the image: -o type=registry" },
  quiet: { kind: "bool", short: "q", about: "Print the image's ID alone" },
  rm: { kind: "bool", default: true, about: "Taken for compatibility", hidden: true },
  sbom: { kind: "string", about: "Tell what software is in the image: true or false" },
  secret: {
    kind: "list",
    word: "secret",
    about: "What RUN --mount=type=secret may read: id=ID[,src=FILE|env=NAME]",
  },
  "security-opt": { kind: "list", about: "Security option for RUN" },
  "shm-size": { kind: "bytes", about: "Size of /dev/shm of RUN" },
  ssh: {
    kind: "list",
    word: "agent",
    about: "What RUN --mount=type=ssh may ask: default, or ID=SOCKET, or ID=KEY[,KEY]",
  },
  squash: { kind: "bool", about: "Make one layer above the base of all that the build makes" },
  tag: { kind: "list", short: "t", about: "Name of the image: NAME[:TAG]" },
  target: { kind: "list", about: "Stop at this stage; several are built at once" },
  timeout: {
    kind: "duration",
    about: "End the build, and all that it started, after so long: 10m",
  },
  ulimit: {
    kind: "list",
    word: "ulimit",
    about: "Limit for RUN: NAME=SOFT[:HARD]",
    check: checkUlimit,
  },
  verify: { kind: "bool", about: "Build twice without the cache; fail unless both are the same" },
} as const satisfies FlagTable;

/** The query of `POST /build`, but for what the context adds. */
export function buildQuery(flags: FlagValues<typeof buildFlags>): BuildQuery {
  return {
    t: flags.tag,
    buildargs: { ...epochArgument(), ...buildArguments(flags["build-arg"]) },
    labels: toMap(flags.label),
    target: flags.target.at(-1) ?? "",
    nocache: flags["no-cache"],
    nocachefilter: flags["no-cache-filter"].flatMap((text) => text.split(",")),
    explain: flags.explain === "text",
    ...(flags.timeout > 0 ? { timeout: Math.ceil(flags.timeout / 1e6) } : {}),
    pull: flags.pull,
    networkmode: flags.network,
    platform: flags.platform.join(","),
    verify: flags.verify,
    squash: flags.squash,
    attests: attestsOf(flags),
    q: flags.quiet,
    extrahosts: flags["add-host"].map((host) => host.replace("=", ":")),
    ...(flags.allow.length > 0 ? { allow: flags.allow } : {}),
    ...limitsOf(flags),
    ...(flags["shm-size"] > 0 ? { shmsize: flags["shm-size"] } : {}),
    ...(flags.memory > 0 ? { memory: flags.memory } : {}),
    ...(flags["cpu-shares"] > 0 ? { cpushares: flags["cpu-shares"] } : {}),
  };
}

/** The environment's SOURCE_DATE_EPOCH holds for a build, as in other tools. */
function epochArgument(): Record<string, string> {
  const { SOURCE_DATE_EPOCH: epoch } = process.env;
  return epoch ? { SOURCE_DATE_EPOCH: epoch } : {};
}

function limitsOf(flags: FlagValues<typeof buildFlags>): Partial<BuildQuery> {
  const all = {
    memswap: flags["memory-swap"],
    cpuperiod: flags["cpu-period"],
    cpuquota: flags["cpu-quota"],
    cpusetcpus: flags["cpuset-cpus"],
    cpusetmems: flags["cpuset-mems"],
    cgroupparent: flags["cgroup-parent"],
    isolation: flags.isolation,
    ulimits: flags.ulimit.length > 0 ? JSON.stringify(flags.ulimit.map(parseUlimit)) : "",
  };
  const isSet = (value: unknown) => value !== 0 && value !== "";
  return Object.fromEntries(Object.entries(all).filter(([, value]) => isSet(value)));
}

/** `--provenance=mode=max` is `--attest type=provenance,mode=max`; "false" takes one back. */
function attestsOf(flags: {
  readonly attest: readonly string[];
  readonly provenance: string;
  readonly sbom: string;
}): Record<string, string>[] {
  const short = (type: string, value: string): string[] => {
    if (value === "") return [];
    if (["true", "1"].includes(value)) return [`type=${type}`];
    if (["false", "0"].includes(value)) return [`type=${type},disabled=true`];
    return [`type=${type},${value}`];
  };
  const all = [
    ...flags.attest,
    ...short("provenance", flags.provenance),
    ...short("sbom", flags.sbom),
  ];
  return all.map((text) =>
    Object.fromEntries(
      csvFields(text).map((field) => {
        const at = field.indexOf("=");
        if (at > 0) return [field.slice(0, at).trim(), field.slice(at + 1)];
        throw new Failure("invalid", `invalid value ${field}: expected key=value`);
      }),
    ),
  );
}

/** A bare NAME takes this process's value; without one it stays what the Dockerfile says. */
export function buildArguments(pairs: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at !== -1) return [pair.slice(0, at), pair.slice(at + 1)];
      return [pair, process.env[pair] ?? null];
    }),
  );
}
