import { posix } from "node:path";
import type { Mount } from "../sys/mod.ts";
import { defaultDeviceRules, defaultMounts, initTarget } from "./defaults.ts";
import type { OciSeccomp } from "./seccomp.ts";
import type { BundleSpec, Device, Namespace, ProcessSpec, Resources } from "./types.ts";

/** What the host adds to a BundleSpec. */
export interface BundleParts {
  /** The resolved profile; undefined is no filter. */
  readonly seccomp?: OciSeccomp | undefined;
  /** From the cgroup root, with a slash at the front. */
  readonly cgroupsPath: string;
  /** The init program on the host, needed where `spec.init` is set. */
  readonly initPath?: string | undefined;
  /** Of the host; a privileged container has them all. */
  readonly hostDevices?: readonly Device[];
}

/**
 * A container as the OCI runtime reads it, with Docker's defaults: pure, the host comes as `parts`.
 * Spec: https://github.com/opencontainers/runtime-spec/blob/v1.1.0/config.md
 */
export function bundleConfig(spec: BundleSpec, parts: BundleParts): object {
  const { namespaces, hostname, domainname } = spec;
  const isOwnUts = namespaces.uts === "private";
  // A kernel setting and no field of its own: older runtimes know no `domainname`.
  const names = isOwnUts && domainname ? { "kernel.domainname": domainname } : {};
  return {
    ociVersion: "1.0.2",
    process: processConfig(spec.process, spec.init),
    root: { path: spec.rootfs, readonly: spec.readonlyRootfs },
    ...(isOwnUts && hostname ? { hostname } : {}),
    mounts: allMounts(spec, parts.initPath).map(({ target, type, source, options }) => ({
      destination: target,
      type,
      source,
      options,
    })),
    ...(spec.annotations ? { annotations: spec.annotations } : {}),
    ...(spec.hooks && Object.keys(spec.hooks).length > 0 ? { hooks: spec.hooks } : {}),
    linux: {
      sysctl: { ...names, ...spec.sysctl },
      cgroupsPath: parts.cgroupsPath,
      resources: resourcesConfig(spec.resources, spec.privileged),
      namespaces: namespaceList(spec),
      devices: allDevices(spec, parts.hostDevices ?? []),
      maskedPaths: spec.maskedPaths,
      readonlyPaths: spec.readonlyPaths,
      ...(spec.rootfsPropagation ? { rootfsPropagation: spec.rootfsPropagation } : {}),
      ...(parts.seccomp ? { seccomp: parts.seccomp } : {}),
    },
  };
}

/** The `process` of a config.json, and all of a process.json for `exec`. */
export function processConfig(process: ProcessSpec, init = false): object {
  const { capabilities, user } = process;
  // As Docker: whoever is not root starts without any, and regains from the bounding set by setuid.
  const held = user.uid === 0 ? capabilities : [];
  return {
    terminal: process.terminal,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: init ? [initTarget, "--", ...process.args] : process.args,
    env: process.env,
    cwd: process.cwd,
    capabilities: {
      bounding: capabilities,
      effective: held,
      permitted: held,
      inheritable: [],
      ambient: [],
    },
    noNewPrivileges: process.noNewPrivileges,
    rlimits: process.rlimits,
    ...(process.oomScoreAdj === undefined ? {} : { oomScoreAdj: process.oomScoreAdj }),
    ...(process.apparmorProfile ? { apparmorProfile: process.apparmorProfile } : {}),
  };
}

/** `linux.resources`: Docker's device rules come before the ones asked for. */
export function resourcesConfig(resources: Resources, isPrivileged: boolean): object {
  const all = { allow: true, type: "a", access: "rwm" } as const;
  const devices = isPrivileged ? [all] : [...defaultDeviceRules, ...(resources.devices ?? [])];
  // A new group has no limit; "-1" is not what every kernel's file takes for it.
  const { pids, ...rest } = resources;
  return { ...rest, ...(pids && pids.limit >= 0 ? { pids } : {}), devices };
}

/** The defaults, without those that the user's own cover, then the user's. */
function allMounts(spec: BundleSpec, initPath: string | undefined): Mount[] {
  const taken = new Set(spec.mounts.map(({ target }) => posix.join(target, ".")));
  const defaults = defaultMounts({
    shmSizeBytes: spec.shmSizeBytes,
    isPrivileged: spec.privileged,
    isSharedIpc: spec.namespaces.ipc === "host",
    // Those of the host's root are nobody's to mount in a user namespace.
    hasQueues: spec.namespaces.ipc !== "host" || spec.userNamespace === undefined,
    writesCgroups: spec.privileged || (spec.writableCgroups ?? false),
  });
  const kept = defaults.filter(({ target }) => {
    const isBelowTaken = target.startsWith("/dev/") && taken.has("/dev");
    return !taken.has(target) && !isBelowTaken;
  });
  const init: Mount[] =
    spec.init && initPath
      ? [{ type: "bind", source: initPath, target: initTarget, options: ["bind", "ro"] }]
      : [];
  return [...kept, ...spec.mounts, ...init];
}

function allDevices(spec: BundleSpec, hostDevices: readonly Device[]): readonly Device[] {
  if (!spec.privileged) return spec.devices;
  const asked = new Set(spec.devices.map(({ path }) => path));
  return [...hostDevices.filter(({ path }) => !asked.has(path)), ...spec.devices];
}

function namespaceList({ namespaces, userNamespace }: BundleSpec): object[] {
  const entry = (type: string, namespace: Namespace) => {
    if (namespace === "host") return [];
    return namespace === "private" ? [{ type }] : [{ type, path: namespace.path }];
  };
  return [
    ...(userNamespace ? [{ type: "user", path: userNamespace.path }] : []),
    { type: "mount" },
    ...entry("network", namespaces.network),
    ...entry("pid", namespaces.pid),
    ...entry("ipc", namespaces.ipc),
    ...entry("uts", namespaces.uts),
    ...entry("cgroup", namespaces.cgroup),
  ];
}
