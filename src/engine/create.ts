import { Failure, isFailure, toFailure } from "../base/mod.ts";
import type { Image } from "../image/mod.ts";
import { matchesPlatform, mergeRunConfig, parsePlatform } from "../oci/mod.ts";
import { cleanPath } from "./binds.ts";
import type { Core } from "./core.ts";
import { withDefaults } from "./defaults.ts";
import { checkLinks } from "./links.ts";
import { checkLogConfig } from "./logging.ts";
import { fillVolumes, makeVolumes, mountPoints, planMounts } from "./mount-plan.ts";
import { releaseVolumes } from "./mounts.ts";
import { makeId } from "./names.ts";
import type { MountPlan } from "./plan.ts";
import { hostnameFor } from "./process.ts";
import { canWeighBlockIO, noWeights } from "./resources.ts";
import { donorOf, networkModeOf, planEndpoints } from "./sandbox.ts";
import { systemPaths } from "./security.ts";
import { never, now } from "./times.ts";
import type { Container, ContainerConfig, CreateRequest, HostConfig } from "./types.ts";
import { chooseUsers } from "./users.ts";
import { verify } from "./verify.ts";

const shmBytesDefault = 64 << 20;

/** As `Engine.create`. All or nothing, also when the daemon is killed in the middle. */
export async function create(
  core: Core,
  request: CreateRequest,
): Promise<{ id: string; warnings: string[] }> {
  const image = resolveImage(core, request);
  try {
    return await createFrom(core, request, image);
  } catch (error) {
    // To clients "not found" here means the image, which they then pull: all else that lacks is "invalid".
    if (!isFailure(error, "not_found")) throw error;
    const { message, hint } = toFailure(error);
    throw new Failure("invalid", message, { ...(hint ? { hint } : {}), cause: error });
  }
}

async function createFrom(
  core: Core,
  request: CreateRequest,
  image: Image,
): Promise<{ id: string; warnings: string[] }> {
  const config = completeConfig(request.config, image);
  const hostConfig = completeHostConfig(core, withDefaults(request.hostConfig, core.defaults()));
  verify(config, hostConfig);
  await chooseUsers(core, hostConfig);
  core.runtime.expect(); // most containers are started at once
  const id = makeId();
  const name = core.records.reserve(id, request.name);
  let plans: readonly MountPlan[] = [];
  try {
    const asked = { ...request, config, hostConfig };
    checkLinks(core, hostConfig);
    const endpoints = planEndpoints(core, asked);
    plans = await planMounts(core, id, asked);
    const container = compose(core, { id, name, image, config, hostConfig, endpoints });
    const inside = { mounts: plans, restartDelayMs: 0 };
    // Volumes made for this container are found again through the row, should we die in between.
    const isMaking = plans.some(({ kind }) => kind === "volume");
    if (isMaking) core.records.put(container, { ...inside, phase: "creating" });
    const volatile = hostConfig.AutoRemove;
    await core.snapshots.prepare(id, image.config.rootfs.diff_ids, { volatile });
    await makeVolumes(core, id, plans);
    await fillVolumes(core, id, plans);
    const mounts = mountPoints(core, plans, hostConfig);
    core.records.put({ ...container, mounts }, { ...inside, phase: "idle" });
  } catch (error) {
    await discard(core, id, { name, plans });
    throw error;
  }
  core.events.container(core.records.get(id), "create");
  return { id, warnings: warningsOf(core, request.hostConfig) };
}

async function discard(
  core: Core,
  id: string,
  { name, plans }: { name: string; plans: readonly MountPlan[] },
): Promise<void> {
  try {
    await releaseVolumes(core, id, plans, { anonymous: true });
    await core.snapshots.remove(id);
  } finally {
    core.records.remove(id);
    core.records.unreserve(id, name);
  }
}

function resolveImage(core: Core, { config, platform }: CreateRequest): Image {
  if (config.Image === "") {
    throw new Failure("invalid", "config cannot be empty in order to create a container", {
      hint: "Name an image",
    });
  }
  const image = core.images.resolve(config.Image);
  if (!platform || matchesPlatform(parsePlatform(platform), image.config)) return image;
  const found = `${image.config.os}/${image.config.architecture}`;
  throw new Failure(
    "not_found",
    `image with reference ${config.Image} was found but does not provide the specified platform ` +
      `(${platform}): it has ${found}`,
  );
}

function completeConfig(asked: ContainerConfig, image: Image): ContainerConfig {
  const merged = mergeRunConfig(image.config.config ?? {}, asked);
  // [""] is how clients take an image's entrypoint away.
  const isReset = merged.Entrypoint?.length === 1 && merged.Entrypoint[0] === "";
  const config = { ...asked, ...merged, ...(isReset ? { Entrypoint: null } : {}) };
  if ((config.Entrypoint ?? []).length === 0 && (config.Cmd ?? []).length === 0) {
    throw new Failure("invalid", "no command specified", {
      hint: "The image names no command: give one after the image's name",
    });
  }
  return config;
}

function completeHostConfig(core: Core, asked: HostConfig): HostConfig {
  const paths = systemPaths(asked);
  donorOf(core, asked.NetworkMode);
  for (const mode of [asked.IpcMode, asked.PidMode]) donorOf(core, mode);
  return {
    ...asked,
    ...completeLimits(asked),
    NetworkMode: networkModeOf(asked),
    LogConfig: checkLogConfig(asked.LogConfig),
    RestartPolicy: { ...asked.RestartPolicy, Name: asked.RestartPolicy.Name || "no" },
    IpcMode: asked.IpcMode || "private",
    CgroupnsMode: asked.CgroupnsMode || "private",
    ShmSize: asked.ShmSize || shmBytesDefault,
    MaskedPaths: paths.masked,
    ReadonlyPaths: paths.readonly,
    Runtime: checkRuntime(core, asked.Runtime),
  };
}

/** As `inspect` shows them: what stands for "no limit" is one value, and what is not said is settled. */
function completeLimits(asked: HostConfig) {
  const { Memory, MemorySwap, MemorySwappiness: swappiness, PidsLimit: pids } = asked;
  return {
    MemorySwap: MemorySwap === 0 && Memory > 0 ? Memory * 2 : MemorySwap,
    MemorySwappiness: swappiness === -1 ? null : swappiness,
    PidsLimit: (pids ?? 0) > 0 ? pids : null,
    BlkioWeight: canWeighBlockIO() ? asked.BlkioWeight : 0,
    BlkioWeightDevice: canWeighBlockIO() ? asked.BlkioWeightDevice : asked.BlkioWeightDevice && [],
    ...(hasPercent(asked) ? { CpuPercent: 0 } : {}),
  };
}

const hasPercent = ({ CpuPercent = 0 }: HostConfig) => CpuPercent > 0;

/** To run under another runtime than was asked for could mean less isolation than was asked for. */
function checkRuntime({ runtimeName, runtimeNames }: Core, asked: string): string {
  const names = [runtimeName, ...runtimeNames];
  if (names.includes(asked)) return asked;
  // Docker's own names for its default stand for ours.
  if (["", "runc", "io.containerd.runc.v2"].includes(asked)) return runtimeName;
  throw new Failure("invalid", `unknown or invalid runtime name: ${asked.slice(0, 100)}`, {
    hint: `This daemon runs containers with ${[...new Set(names)].join(", ")}`,
  });
}

type Parts = Pick<Container, "id" | "name" | "config" | "hostConfig" | "endpoints"> & {
  readonly image: Image;
};

function compose(core: Core, { image, ...parts }: Parts): Container {
  const { id, config, hostConfig } = parts;
  const donor = donorOf(core, hostConfig.NetworkMode);
  const hostname =
    donor?.config.Hostname ?? hostnameFor(id, config.Hostname, hostConfig.NetworkMode);
  const [path = "", ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  return {
    ...parts,
    created: now(),
    imageId: image.id,
    imageName: config.Image,
    path,
    args,
    config: {
      ...config,
      Hostname: hostname,
      WorkingDir: config.WorkingDir ? cleanPath(config.WorkingDir) : "",
    },
    mounts: [],
    state: {
      status: "created",
      pid: 0,
      exitCode: 0,
      error: "",
      oomKilled: false,
      startedAt: never,
      finishedAt: never,
    },
    restartCount: 0,
    manuallyStopped: false,
    execIds: [],
    logDirectory: `${core.directory}/logs/${id}`,
  };
}

function warningsOf(core: Core, host: HostConfig): string[] {
  const hasPorts = Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts;
  return [
    ...discarded(core.runtime.controllers, host),
    ...(hasPorts && host.NetworkMode === "host"
      ? ["Published ports are discarded when using host network mode"]
      : []),
    ...(host.BlkioWeight !== 0 && !canWeighBlockIO() ? [noWeights] : []),
    ...((host.BlkioWeightDevice ?? []).length > 0 && !canWeighBlockIO()
      ? [
          "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        ]
      : []),
    ...(hasPercent(host) ? ["linux does not support CPU percent. Percent discarded."] : []),
    ...(host.OomKillDisable && host.Memory === 0
      ? [
          "OOM killer is disabled for the container, but no memory limit is set, this can result in " +
            "the system running out of resources.",
        ]
      : []),
  ];
}

/** Limits that this engine has no controllers for: that of a user has those that were delegated to it. */
function discarded(controllers: ReadonlySet<string> | undefined, host: HostConfig): string[] {
  if (!controllers) return [];
  const asked: Readonly<Record<string, boolean>> = {
    memory: host.Memory > 0 || host.MemoryReservation > 0,
    cpu: host.NanoCpus > 0 || host.CpuQuota > 0 || host.CpuShares > 0,
    cpuset: host.CpusetCpus !== "" || host.CpusetMems !== "",
    pids: (host.PidsLimit ?? 0) > 0,
  };
  const missing = Object.keys(asked).filter((name) => asked[name] && !controllers.has(name));
  if (missing.length === 0) return [];
  const why = "an engine without root has no such control groups here";
  return [`Limits of ${missing.join(", ")} are discarded: ${why}`];
}
