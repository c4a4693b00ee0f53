/**
 * Devices by the names of the Container Device Interface: what a host's administrator wrote down of
 * them below /etc/cdi and /var/run/cdi.
 * Spec: https://github.com/cncf-tags/container-device-interface/blob/v0.8.0/SPEC.md
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { Mount } from "../sys/mod.ts";
import { describeDevice } from "./host-devices.ts";
import type { Device, DeviceRule, Hook, Hooks } from "./types.ts";

/** What a process gets with a device. */
export interface DeviceEdits {
  readonly env: readonly string[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  readonly rules: readonly DeviceRule[];
  /** Programs of the host that make the container ready for it. */
  readonly hooks: Hooks;
  readonly additionalGids: readonly number[];
}

const moments: readonly string[] =
  "prestart createRuntime createContainer startContainer poststart poststop".split(" ");
const specBytesMax = 1 << 20;
const specsMax = 1_000;

interface Edits {
  readonly env?: readonly string[];
  readonly deviceNodes?: readonly Readonly<Record<string, unknown>>[];
  readonly mounts?: readonly Readonly<Record<string, unknown>>[];
  readonly hooks?: readonly Readonly<Record<string, unknown>>[];
  readonly additionalGIDs?: readonly number[];
}

interface Spec {
  readonly kind: string;
  readonly containerEdits?: Edits;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly devices?: readonly {
    readonly name: string;
    readonly containerEdits?: Edits;
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
}

/** Later folders win, as the specification has it. */
export const cdiFolders: readonly string[] = ["/etc/cdi", "/var/run/cdi"];
let chosenFolders = cdiFolders;

/** Looks for specifications elsewhere from now on; nowhere, with none. */
export function useCdiFolders(folders: readonly string[]): void {
  chosenFolders = folders;
}

/**
 * The devices that a name stands for: `vendor.com/class=name`, `vendor.com/class=*`, or a class alone,
 * which is its first device. Undefined when there is none.
 * @throws Failure "invalid" — a specification is malformed
 */
export async function findDevices(
  name: string,
  folders: readonly string[] = chosenFolders,
): Promise<DeviceEdits | undefined> {
  const [kind = "", wanted] = name.split("=", 2);
  const edits: Edits[] = [];
  for (const spec of await readSpecs(folders)) {
    if (spec.kind !== kind) continue;
    const all = [...(spec.devices ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
    const found =
      wanted === undefined
        ? all.slice(0, 1)
        : all.filter((device) => wanted === "*" || device.name === wanted);
    if (found.length === 0) continue;
    edits.push(spec.containerEdits ?? {}, ...found.map((device) => device.containerEdits ?? {}));
  }
  return edits.length === 0 ? undefined : await joined(edits);
}

/** The names of a kind's devices, in order. */
export async function listDevices(
  kind: string,
  folders: readonly string[] = chosenFolders,
): Promise<string[]> {
  const specs = (await readSpecs(folders)).filter((spec) => spec.kind === kind);
  return specs.flatMap(({ devices }) => (devices ?? []).map(({ name }) => name)).sort();
}

async function readSpecs(folders: readonly string[]): Promise<Spec[]> {
  const specs: Spec[] = [];
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []); // a host without devices of this kind
    for (const name of names.filter((each) => /\.(json|ya?ml)$/.test(each)).slice(0, specsMax)) {
      const path = `${folder}/${name}`;
      if ((await stat(path)).size > specBytesMax) {
        throw new Failure("exhausted", `Cannot read "${path}": over ${specBytesMax} bytes`);
      }
      const text = await readFile(path, "utf8");
      try {
        const spec = name.endsWith(".json") ? JSON.parse(text) : Bun.YAML.parse(text);
        if (typeof spec?.kind === "string") specs.push(spec as Spec);
      } catch (cause) {
        throw new Failure("invalid", `Cannot read the device specification "${path}"`, { cause });
      }
    }
  }
  return specs;
}

async function joined(all: readonly Edits[]): Promise<DeviceEdits> {
  const nodes = all.flatMap(({ deviceNodes }) => deviceNodes ?? []);
  const devices = await Promise.all(nodes.map(deviceOf));
  return {
    env: all.flatMap(({ env }) => env ?? []),
    mounts: all.flatMap(({ mounts }) => mounts ?? []).map(mountOf),
    devices: devices.map(({ device }) => device),
    rules: devices.map(({ rule }) => rule),
    hooks: hooksOf(all.flatMap(({ hooks }) => hooks ?? [])),
    additionalGids: all.flatMap(({ additionalGIDs }) => additionalGIDs ?? []),
  };
}

/** By the moment at which the OCI runtime calls them. @throws "invalid" */
function hooksOf(all: readonly Readonly<Record<string, unknown>>[]): Hooks {
  const hooks: Record<string, Hook[]> = {};
  for (const { hookName, path, args, env, timeout } of all) {
    if (typeof hookName !== "string" || !moments.includes(hookName) || typeof path !== "string") {
      throw new Failure("invalid", `Cannot call the hook "${String(hookName)}" of a device`);
    }
    const moment = (hooks[hookName] ??= []);
    moment.push({
      path,
      ...(Array.isArray(args) ? { args: args.map(String) } : {}),
      ...(Array.isArray(env) ? { env: env.map(String) } : {}),
      ...(typeof timeout === "number" ? { timeout } : {}),
    });
  }
  return hooks;
}

function mountOf(mount: Readonly<Record<string, unknown>>): Mount {
  const { hostPath, containerPath, type, options } = mount;
  const given = Array.isArray(options) ? options.map(String) : [];
  return {
    type: typeof type === "string" && type !== "" ? type : "bind",
    source: String(hostPath ?? ""),
    target: String(containerPath ?? hostPath ?? ""),
    options: ["rbind", "rprivate", ...given],
  };
}

/** The numbers of a node come from the specification, or from the host's own. */
async function deviceOf(
  node: Readonly<Record<string, unknown>>,
): Promise<{ device: Device; rule: DeviceRule }> {
  const { path, hostPath, major, minor, type, permissions, fileMode } = node;
  const target = String(path ?? "");
  const host = await describeDevice(String(hostPath ?? target));
  const own =
    typeof major === "number" && typeof minor === "number" && (type === "b" || type === "c")
      ? ({ type, major, minor } as const)
      : undefined;
  const numbers = own ?? host;
  if (!numbers) throw new Failure("not_found", `Cannot find the device node "${target}"`);
  const device = {
    path: target,
    type: numbers.type,
    major: numbers.major,
    minor: numbers.minor,
    fileMode: typeof fileMode === "number" ? fileMode : (host?.fileMode ?? 0o666),
    uid: host?.uid ?? 0,
    gid: host?.gid ?? 0,
  };
  const access = typeof permissions === "string" ? permissions : "rwm";
  return { device, rule: { ...ruleOf(device), access } };
}

/** The cgroup's rule that opens a device. */
export function ruleOf({ type, major, minor }: Device): DeviceRule {
  return { allow: true, type: type === "b" ? "b" : "c", major, minor, access: "rwm" };
}
