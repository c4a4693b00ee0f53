import { posix } from "node:path";
import { Failure } from "../base/mod.ts";

/** What a `-v` or `--mount` asks for, before volumes have names and images IDs. */
export type MountDraft =
  | {
      readonly kind: "bind";
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly propagation: string;
      readonly recursive: boolean;
      /** Read-only down to the mounts below it. */
      readonly readOnlyRecursive: boolean;
      readonly createSource: boolean;
      readonly mode: string;
      readonly idMap?: string;
    }
  | {
      readonly kind: "volume";
      /** "" for an anonymous one. */
      readonly name: string;
      readonly driver: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly options: Readonly<Record<string, string>>;
      readonly target: string;
      readonly readOnly: boolean;
      readonly copy: boolean;
      readonly subpath: string;
      readonly mode: string;
      readonly idMap?: string;
    }
  | { readonly kind: "tmpfs"; readonly target: string; readonly options: readonly string[] }
  | {
      readonly kind: "image";
      readonly source: string;
      readonly target: string;
      readonly subpath: string;
    };

export const defaultPropagation = "rprivate";
const propagations = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
/** Flags of a mode, by what they speak of: at most one of each. */
const subjects: readonly (readonly string[])[] = [
  ["ro", "rw"],
  ["z", "Z"],
  propagations,
  ["nocopy"],
  ["idmap"],
  ["consistent", "cached", "delegated"],
];
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Parses `source:target:mode` of `-v`. @throws "invalid" in Docker's words */
export function parseBind(raw: string, volumeDriver = ""): MountDraft {
  const parts = raw.split(":");
  const [first = "", second = "", third = ""] = parts;
  const isBad = parts.length > 3 || first === "" || (parts.length > 1 && second === "");
  // "/data:ro": a mode without a target.
  if (isBad || (parts.length === 2 && parseMode(second))) throw badSpec(raw);
  const [source, target, mode] =
    parts.length === 1 ? ["", first, ""] : ([first, second, third] as const);
  const flags = mode === "" && parts.length < 3 ? [] : parseMode(mode);
  if (!flags) throw new Failure("invalid", `invalid mode: ${mode}`);
  const isBind = source.startsWith("/");
  checkTarget(target, isBind ? "bind" : "volume", `invalid volume specification: '${raw}': `);
  const readOnly = flags.includes("ro");
  // Ours: whoever owns the source is the container's user.
  const idMap = flags.includes("idmap") ? { idMap: "user" } : {};
  if (isBind) {
    if (flags.includes("nocopy")) throw new Failure("invalid", `invalid mode: ${mode}`);
    return {
      kind: "bind",
      source: posix.normalize(source),
      target: cleanPath(target),
      readOnly,
      propagation: flags.find((flag) => propagations.includes(flag)) ?? defaultPropagation,
      recursive: true,
      readOnlyRecursive: readOnly,
      createSource: true,
      mode,
      ...idMap,
    };
  }
  if (flags.some((flag) => propagations.includes(flag))) {
    throw new Failure("invalid", `invalid mode: ${mode}`);
  }
  if (source !== "") checkVolumeName(source);
  return {
    kind: "volume",
    name: source,
    driver: volumeDriver,
    labels: {},
    options: {},
    target: cleanPath(target),
    readOnly,
    copy: !flags.includes("nocopy"),
    subpath: "",
    mode: mode === "" && source !== "" ? "z" : mode,
    ...idMap,
  };
}

/** The flags of a mode; undefined when one is unknown or two speak of the same. */
export function parseMode(mode: string): string[] | undefined {
  if (mode === "") return [];
  const flags = mode.split(",");
  const isOnce = subjects.every((names) => flags.filter((f) => names.includes(f)).length <= 1);
  const isKnown = flags.every((flag) => subjects.some((names) => names.includes(flag)));
  return isOnce && isKnown ? flags : undefined;
}

/** `name[:mode]` of `--volumes-from`. @throws "invalid" */
export function parseVolumesFrom(spec: string): { container: string; mode: string } {
  const [container = "", mode = "", ...rest] = spec.split(":");
  if (container === "") {
    throw new Failure("invalid", "volumes-from specification cannot be an empty string");
  }
  const flags = parseMode(mode);
  const isOdd = flags?.some(
    (flag) => ["nocopy", "idmap"].includes(flag) || propagations.includes(flag),
  );
  if (rest.length > 0 || !flags || isOdd) {
    throw new Failure("invalid", `invalid mode: ${[mode, ...rest].join(":")}`);
  }
  return { container, mode };
}

/** @throws "invalid" — Docker's reason, behind `prefix` */
export function checkTarget(target: string, type: string, prefix = ""): void {
  const refuse = (why: string) =>
    new Failure("invalid", `${prefix}invalid mount config for type "${type}": ${why}`);
  if (target === "") throw refuse("field Target must not be empty");
  if (target.includes("\0")) throw refuse("invalid mount path: a NUL byte is in it");
  if (!target.startsWith("/")) {
    throw refuse(`invalid mount path: '${target}' mount path must be absolute`);
  }
  if (cleanPath(target) === "/") throw refuse("invalid specification: destination can't be '/'");
}

export function checkVolumeName(name: string): void {
  if (volumeName.test(name) && name.length <= 255) return;
  throw new Failure(
    "invalid",
    `create ${name}: "${name}" includes invalid characters for a local volume name, only ` +
      '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use ' +
      "absolute path",
  );
}

/** Absolute, without `.`, `..`, doubled and trailing slashes. */
export function cleanPath(path: string): string {
  const clean = posix.normalize(`/${path}`);
  return clean.length > 1 && clean.endsWith("/") ? clean.slice(0, -1) : clean;
}

function badSpec(raw: string): Failure {
  return new Failure("invalid", `invalid volume specification: '${raw.slice(0, 300)}'`);
}
