import { stat } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import {
  checkTarget,
  checkVolumeName,
  cleanPath,
  defaultPropagation,
  type MountDraft,
} from "./binds.ts";
import { checkIdMap } from "./idmap.ts";
import type { MountRequest } from "./types.ts";

const propagations = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
/** What a tmpfs has unless its options say otherwise. */
const tmpfsDefaults = ["noexec", "nosuid", "nodev"];
const opposite: Readonly<Record<string, string>> = {
  exec: "noexec",
  suid: "nosuid",
  dev: "nodev",
  noexec: "exec",
  nosuid: "suid",
  nodev: "dev",
};
const tmpfsFlags = new Set(
  `rw ro exec noexec suid nosuid dev nodev sync async dirsync remount mand nomand atime noatime
  diratime nodiratime bind rbind relatime norelatime strictatime nostrictatime private rprivate shared
  rshared slave rslave unbindable runbindable`.split(/\s+/),
);
const tmpfsKeys = new Set(["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"]);

/** Checks a `--mount` and makes it a draft. @throws "invalid" in Docker's words */
export async function parseMountRequest(request: MountRequest): Promise<MountDraft> {
  const refuse = (why: string) =>
    new Failure("invalid", `invalid mount config for type "${request.Type}": ${why}`);
  checkTarget(request.Target, request.Type);
  const refuseField = (field: keyof MountRequest, types: readonly string[]) => {
    if (request[field] !== undefined && request[field] !== null && !types.includes(request.Type)) {
      throw refuse(`field ${field} must not be specified`);
    }
  };
  refuseField("BindOptions", ["bind"]);
  refuseField("VolumeOptions", ["volume"]);
  refuseField("TmpfsOptions", ["tmpfs"]);
  refuseField("ImageOptions", ["image"]);
  refuseField("IdMap", ["bind", "volume"]);
  switch (request.Type) {
    case "bind":
      return await bindDraft(request, refuse);
    case "volume":
      return volumeDraft(request, refuse);
    case "tmpfs":
      if (request.Source) throw refuse("field Source must not be specified");
      return tmpfsDraft(request, refuse);
    case "image":
      if (!request.Source) throw refuse("field Source must not be empty");
      return {
        kind: "image",
        source: request.Source,
        target: cleanPath(request.Target),
        subpath: checkSubpath(request.ImageOptions?.Subpath ?? "", refuse),
      };
    default:
      throw refuse("mount type unknown");
  }
}

type Refuse = (why: string) => Failure;

async function bindDraft(request: MountRequest, refuse: Refuse): Promise<MountDraft> {
  const { Source: source = "", BindOptions: options = {} } = request;
  if (source === "") throw refuse("field Source must not be empty");
  if (!source.startsWith("/")) {
    throw refuse(`invalid mount path: '${source}' mount path must be absolute`);
  }
  const propagation = options.Propagation || defaultPropagation;
  if (!propagations.includes(propagation)) {
    throw refuse(`invalid propagation mode: ${propagation}`);
  }
  const createSource = options.CreateMountpoint ?? false;
  if (!createSource && !(await isThere(source))) {
    throw refuse(`bind source path does not exist: ${source}`);
  }
  const readOnly = request.ReadOnly ?? false;
  const recursive = !(options.NonRecursive ?? false);
  return {
    kind: "bind",
    source: cleanPath(source),
    target: cleanPath(request.Target),
    readOnly,
    propagation,
    recursive,
    readOnlyRecursive: readOnly && recursive && !(options.ReadOnlyNonRecursive ?? false),
    createSource,
    mode: "",
    ...idMapOf(request),
  };
}

function volumeDraft(request: MountRequest, refuse: Refuse): MountDraft {
  const { Source: name = "", VolumeOptions: options = {} } = request;
  if (name !== "") checkVolumeName(name);
  else if (request.ReadOnly) {
    throw refuse("must not set ReadOnly mode when using anonymous volumes");
  }
  return {
    kind: "volume",
    name,
    driver: options.DriverConfig?.Name ?? "",
    labels: options.Labels ?? {},
    options: options.DriverConfig?.Options ?? {},
    target: cleanPath(request.Target),
    readOnly: request.ReadOnly ?? false,
    copy: !(options.NoCopy ?? false),
    subpath: checkSubpath(options.Subpath ?? "", refuse),
    mode: name === "" ? "" : "z",
    ...idMapOf(request),
  };
}

const idMapOf = ({ IdMap = "" }: MountRequest) => (IdMap ? { idMap: checkIdMap(IdMap) } : {});

function tmpfsDraft(request: MountRequest, refuse: Refuse): MountDraft {
  const { Target, ReadOnly, TmpfsOptions } = request;
  const { SizeBytes = 0, Mode = 0, Options = [] } = TmpfsOptions ?? {};
  for (const [flag = "", ...rest] of Options) {
    if (flag === "" || rest.length > 0) throw refuse("invalid option array length");
    if (flag !== "exec" && flag !== "noexec") throw refuse(`invalid option: ${flag.slice(0, 100)}`);
  }
  const asked = Options.flat();
  const options = [...withDefaults(asked), ReadOnly ? "ro" : "rw"];
  if (SizeBytes > 0) options.push(`size=${SizeBytes}`);
  if (Mode > 0) options.push(`mode=${(Mode & 0o7777).toString(8)}`);
  return { kind: "tmpfs", target: cleanPath(Target), options };
}

/** `--tmpfs /run:size=64k,exec`. @throws "invalid" — an option that tmpfs does not know */
export function parseTmpfs(target: string, text: string): MountDraft {
  checkTarget(target, "tmpfs");
  const asked = text.split(",").filter((option) => option !== "");
  for (const option of asked) {
    const [key = "", value] = option.split("=", 2);
    const isKnown = value === undefined ? tmpfsFlags.has(key) : tmpfsKeys.has(key);
    if (!isKnown) throw new Failure("invalid", `invalid tmpfs option ["${option}"]`);
  }
  return { kind: "tmpfs", target: cleanPath(target), options: withDefaults(asked) };
}

function withDefaults(asked: readonly string[]): string[] {
  const kept = tmpfsDefaults.filter((flag) => !asked.includes(opposite[flag] ?? ""));
  return [...new Set([...kept, ...asked])];
}

function checkSubpath(subpath: string, refuse: Refuse): string {
  const isOutside = subpath.startsWith("/") || subpath.split("/").includes("..");
  if (isOutside) throw refuse("subpath must be a relative path within the volume");
  return subpath === "" ? "" : cleanPath(subpath).slice(1);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false; // whatever hides it, it cannot be mounted
  }
}
