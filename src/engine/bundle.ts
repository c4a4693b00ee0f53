import { Failure } from "../base/mod.ts";
import type { BundleSpec, DeviceEdits, Hooks, Namespace, Resources } from "../runtime/mod.ts";
import type { Mount } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { mountDevices } from "./device-nodes.ts";
import { findRequested } from "./device-requests.ts";
import { gatherDevices } from "./devices.ts";
import { linkEnvironment } from "./links.ts";
import { firstProcess } from "./process.ts";
import { resources } from "./resources.ts";
import type { Place } from "./sandbox.ts";
import { parseSecurity, systemPaths } from "./security.ts";
import { devicesOf, makeSharedMemory, sharedMemoryOf } from "./subpaths.ts";
import type { Container } from "./types.ts";
import type { UserNamespace } from "./users.ts";

/** All that a start knows, as the runtime wants it. */
export async function makeBundle(
  core: Core,
  container: Container,
  parts: {
    readonly root: string;
    readonly place: Place;
    readonly mounts: readonly Mount[];
    readonly users: UserNamespace | undefined;
  },
): Promise<BundleSpec> {
  const { id, config, hostConfig } = container;
  const namespaces = chooseNamespaces(core, container, parts.place);
  const { devices, rules } = await gatherDevices(hostConfig.Devices);
  const edits = await findRequested(hostConfig.DeviceRequests);
  const nodes = [...devices, ...edits.flatMap((one) => one.devices)];
  const map = parts.users?.map;
  const bound = map ? mountDevices(nodes, { directory: devicesOf(core, id), map }) : [];
  const linkEnv = linkEnvironment(core, container);
  const security = parseSecurity(hostConfig.SecurityOpt, hostConfig.Privileged);
  const limits = await resources(hostConfig);
  const { masked, readonly } = systemPaths(hostConfig);
  const mounts = withNameFiles(parts.mounts, parts.place, hostConfig.ReadonlyRootfs);
  const isOwnUts = namespaces.uts === "private";
  const propagation = rootPropagation(parts.mounts);
  return {
    id,
    ...(hostConfig.Runtime ? { runtime: hostConfig.Runtime } : {}),
    rootfs: parts.root,
    readonlyRootfs: hostConfig.ReadonlyRootfs,
    process: firstProcess(container, parts.root, {
      linkEnv,
      deviceEnv: edits.flatMap(({ env }) => env),
      gids: edits.flatMap(({ additionalGids }) => additionalGids),
    }),
    ...(isOwnUts ? { hostname: config.Hostname } : {}),
    ...(isOwnUts && config.Domainname !== "" ? { domainname: config.Domainname } : {}),
    mounts: [
      ...sharedMemory(core, container),
      ...mounts,
      ...edits.flatMap((one) => one.mounts),
      ...bound,
    ],
    shmSizeBytes: hostConfig.IpcMode === "none" ? 0 : hostConfig.ShmSize,
    namespaces,
    userNamespace: parts.users && { path: parts.users.path, map: parts.users.map },
    cgroupParent: hostConfig.CgroupParent,
    resources: withRules(limits, [...rules, ...edits.flatMap((one) => one.rules)]),
    devices: map ? [] : nodes,
    hooks: joinHooks(edits),
    writableCgroups: security.writableCgroups,
    privileged: hostConfig.Privileged,
    seccomp: security.seccomp,
    maskedPaths: masked,
    readonlyPaths: readonly,
    sysctl: sysctls(container),
    ...(propagation ? { rootfsPropagation: propagation } : {}),
    init: hostConfig.Init ?? false,
    ...(hostConfig.Annotations ? { annotations: hostConfig.Annotations } : {}),
  };
}

function joinHooks(edits: readonly DeviceEdits[]): Hooks {
  const all: Record<string, Hooks[string]> = {};
  for (const [moment, hooks] of edits.flatMap((one) => Object.entries(one.hooks))) {
    all[moment] = [...(all[moment] ?? []), ...hooks];
  }
  return all;
}

function withRules(limits: Resources, rules: NonNullable<Resources["devices"]>): Resources {
  if (rules.length === 0) return limits;
  return { ...limits, devices: [...rules, ...(limits.devices ?? [])] };
}

/** hosts, hostname and resolv.conf, unless the user mounted their own. */
function withNameFiles(mounts: readonly Mount[], { files }: Place, isReadOnly: boolean): Mount[] {
  const own: [source: string, target: string][] = [
    [files.resolvConfPath, "/etc/resolv.conf"],
    [files.hostnamePath, "/etc/hostname"],
    [files.hostsPath, "/etc/hosts"],
  ];
  const taken = new Set(mounts.map(({ target }) => target));
  const options = ["rbind", "rprivate", ...(isReadOnly ? ["ro"] : [])];
  return [
    ...mounts,
    ...own
      .filter(([source, target]) => source !== "" && !taken.has(target))
      .map(([source, target]) => ({ type: "bind", source, target, options })),
  ];
}

/** A mount that shall see later mounts of the host needs a root that lets them through. */
function rootPropagation(mounts: readonly Mount[]): string | undefined {
  const all = new Set(mounts.flatMap(({ options }) => options));
  if (all.has("shared") || all.has("rshared")) return "shared";
  return all.has("slave") || all.has("rslave") ? "rslave" : undefined;
}

function chooseNamespaces(core: Core, container: Container, place: Place) {
  const { hostConfig: host } = container;
  const network: Namespace = place.netnsPath ? { path: place.netnsPath } : "host";
  const cgroup: Namespace = host.CgroupnsMode === "host" ? "host" : "private";
  return {
    network,
    pid: sharedOr(core, host.PidMode, "pid"),
    ipc: sharedOr(core, host.IpcMode, "ipc"),
    uts: host.UTSMode === "host" ? ("host" as const) : ("private" as const),
    cgroup,
  };
}

function sharedOr(core: Core, mode: string, kind: "pid" | "ipc"): Namespace {
  if (mode === "host") return "host";
  const donor = ownerOf(core, mode);
  if (!donor) return "private";
  if (kind === "ipc" && !["shareable", "host"].includes(donor.container.hostConfig.IpcMode)) {
    throw new Failure(
      "conflict",
      `cannot join IPC of container ${donor.container.id}: non-shareable IPC ` +
        "(hint: use IpcMode:shareable for the donor container)",
    );
  }
  return { path: `/proc/${donor.pid}/ns/${kind}` };
}

/** The running container that `container:X` names. @throws "conflict" when it does not run */
function ownerOf(core: Core, mode: string): { container: Container; pid: number } | undefined {
  if (!mode.startsWith("container:")) return undefined;
  const container = core.records.resolve(mode.slice("container:".length));
  const live = core.live.get(container.id);
  if (live) return { container, pid: live.process.pid };
  throw new Failure(
    "conflict",
    `cannot join a namespace: container ${container.id} is not running`,
  );
}

/** Who shares another's IPC namespace shares its /dev/shm. */
function sharedMemory(core: Core, { id, hostConfig }: Container): Mount[] {
  const { IpcMode: mode, ShmSize: bytes } = hostConfig;
  const owner = ownerOf(core, mode)?.container;
  const isHost = mode === "host" || owner?.hostConfig.IpcMode === "host";
  if (!isHost && !owner && mode !== "shareable") return [];
  // Mounts of a container's own cannot be bound in another one: those to be shared are made outside.
  const source = isHost
    ? "/dev/shm"
    : owner
      ? sharedMemoryOf(core, owner.id)
      : makeSharedMemory(core, id, bytes);
  const options = ["rbind", "rprivate", "nosuid", "noexec", "nodev"];
  return [{ type: "bind", source, target: "/dev/shm", options }];
}

/** Those of the network are the network store's: it makes the namespace. */
function sysctls({ hostConfig }: Container): Record<string, string> {
  const asked = Object.entries(hostConfig.Sysctls ?? {});
  return Object.fromEntries(asked.filter(([key]) => !key.startsWith("net.")));
}
