import { Failure } from "../base/mod.ts";
import type { RunConfig } from "../oci/mod.ts";
import { checkTarget, cleanPath, type MountDraft, parseBind, parseVolumesFrom } from "./binds.ts";
import type { Core } from "./core.ts";
import { parseMountRequest, parseTmpfs } from "./mount-request.ts";
import { makeId } from "./names.ts";
import type { MountPlan } from "./plan.ts";
import type { HostConfig, MountPoint } from "./types.ts";

const mountsMax = 1_000;

/** Settles all mounts of a container to be: by target, later words over `--volumes-from`. */
export async function planMounts(
  core: Core,
  id: string,
  { hostConfig, config }: { hostConfig: HostConfig; config: RunConfig },
): Promise<MountPlan[]> {
  const plans = new Map<string, MountPlan>();
  for (const spec of hostConfig.VolumesFrom ?? []) {
    for (const plan of borrowed(core, id, spec)) plans.set(plan.target, plan);
  }
  const drafts = await gatherDrafts(hostConfig);
  const seen = new Set<string>();
  for (const draft of drafts) {
    if (seen.has(draft.target)) {
      throw new Failure("invalid", `Duplicate mount point: ${draft.target}`);
    }
    seen.add(draft.target);
    plans.set(draft.target, settle(core, id, draft));
  }
  for (const path of Object.keys(config.Volumes ?? {})) {
    checkTarget(path, "volume");
    const target = cleanPath(path);
    if (!plans.has(target)) plans.set(target, settle(core, id, anonymousAt(target, hostConfig)));
  }
  if (plans.size > mountsMax) throw new Failure("invalid", `Cannot have over ${mountsMax} mounts`);
  return [...plans.values()].sort((a, b) => depth(a.target) - depth(b.target));
}

async function gatherDrafts(host: HostConfig): Promise<MountDraft[]> {
  const binds = (host.Binds ?? []).map((bind) => parseBind(bind, host.VolumeDriver));
  const mounts = await Promise.all((host.Mounts ?? []).map(parseMountRequest));
  const tmpfs = Object.entries(host.Tmpfs ?? {}).map(([target, text]) => parseTmpfs(target, text));
  return [...binds, ...mounts, ...tmpfs];
}

function anonymousAt(target: string, { VolumeDriver: driver }: HostConfig): MountDraft {
  const what = { kind: "volume", name: "", driver, labels: {}, options: {}, target } as const;
  return { ...what, readOnly: false, copy: true, subpath: "", mode: "" };
}

function settle(core: Core, id: string, draft: MountDraft): MountPlan {
  if (draft.kind === "volume") {
    const { labels, options, ...rest } = draft;
    const isAnonymous = draft.name === "";
    const name = isAnonymous ? makeId() : draft.name;
    return { ...rest, name, anonymous: isAnonymous, labels, options };
  }
  if (draft.kind !== "image") return draft;
  const image = core.images.resolve(draft.source);
  // The key names the target, so that two images at two places do not meet.
  const key = `${id}-image-${Bun.hash(draft.target).toString(16)}`;
  return { ...draft, image: image.id, key };
}

function borrowed(core: Core, id: string, spec: string): MountPlan[] {
  const { container, mode } = parseVolumesFrom(spec);
  const donor = core.records.resolve(container);
  const isReadOnly = mode.split(",").includes("ro");
  return core.records.inside(donor.id).mounts.flatMap((plan): MountPlan[] => {
    if (plan.kind === "tmpfs") return [];
    if (plan.kind === "image") {
      return [{ ...plan, key: `${id}-image-${Bun.hash(plan.target).toString(16)}` }];
    }
    const readOnly = plan.readOnly || isReadOnly;
    if (plan.kind === "volume") return [{ ...plan, readOnly, anonymous: false, copy: false }];
    return [{ ...plan, readOnly, readOnlyRecursive: readOnly && plan.recursive }];
  });
}

/** Makes the volumes that are missing and notes that the container uses them all. */
export async function makeVolumes(
  core: Core,
  id: string,
  plans: readonly MountPlan[],
): Promise<void> {
  for (const plan of plans) {
    if (plan.kind !== "volume") continue;
    const { name, driver, labels, options, anonymous } = plan;
    const isNew = !core.volumes.list().some((volume) => volume.name === name);
    const made = await core.volumes.create({ name, driver, labels, options, anonymous });
    if (isNew) {
      const attributes = { driver: made.driver };
      core.events.emit({ type: "volume", action: "create", actor: { id: name, attributes } });
    }
    await core.volumes.acquire(name, id);
  }
}

/** What the image has at the targets of its empty volumes goes into them. */
export async function fillVolumes(
  core: Core,
  id: string,
  plans: readonly MountPlan[],
): Promise<void> {
  const wanting = plans.filter((plan) => plan.kind === "volume" && plan.copy);
  if (wanting.length === 0) return;
  const owners = await core.users.of(core.records.get(id).hostConfig.UsernsMode);
  const root = await core.snapshots.mount(id, owners);
  for (const plan of wanting) {
    if (plan.kind !== "volume") continue;
    await core.volumes.populate(plan.name, {
      rootfs: root,
      path: plan.target,
      containerId: id,
      owners,
    });
  }
}

/** As `inspect` shows them. */
export function mountPoints(core: Core, plans: readonly MountPlan[], host: HostConfig) {
  return plans.flatMap((plan): MountPoint[] => {
    const { target: Destination } = plan;
    switch (plan.kind) {
      case "bind": {
        const { source: Source, mode: Mode, propagation: Propagation } = plan;
        return [{ Type: "bind", Source, Destination, Mode, RW: !plan.readOnly, Propagation }];
      }
      case "volume": {
        const { name: Name, mode: Mode } = plan;
        const { mountpoint: Source, driver: Driver } = core.volumes.get(Name);
        const RW = !plan.readOnly;
        return [{ Type: "volume", Name, Source, Destination, Driver, Mode, RW, Propagation: "" }];
      }
      case "tmpfs": {
        if (Object.keys(host.Tmpfs ?? {}).some((path) => cleanPath(path) === Destination))
          return [];
        const RW = !plan.options.includes("ro");
        return [{ Type: "tmpfs", Source: "", Destination, Mode: "", RW, Propagation: "" }];
      }
      default: {
        const Source = plan.source;
        return [{ Type: "image", Source, Destination, Mode: "", RW: false, Propagation: "" }];
      }
    }
  });
}

function depth(path: string): number {
  return path.split("/").length;
}
