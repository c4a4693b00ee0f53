import { mkdir, realpath, stat } from "node:fs/promises";
import { Failure, isFailure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { canMapOwners, type Mount, mountOf, type OwnerMap } from "../sys/mod.ts";
import type { Core } from "./core.ts";
import { idMapOptions } from "./idmap.ts";
import type { MountPlan } from "./plan.ts";
import { bindSubpath } from "./subpaths.ts";

/** Makes the plans of a container ready and gives them as the runtime mounts them. */
export async function readyMounts(
  core: Core,
  plans: readonly MountPlan[],
  run: Run,
): Promise<Mount[]> {
  if (plans.length === 0) return [];
  return await Promise.all(plans.map((plan) => readyMount(core, plan, run)));
}

/** The run of a container that mounts are for, and who its users are on the host. */
interface Run {
  readonly id: string;
  readonly owners: OwnerMap | undefined;
}

async function readyMount(core: Core, plan: MountPlan, run: Run): Promise<Mount> {
  const { id } = run;
  switch (plan.kind) {
    case "bind":
      if (plan.createSource) await makeSource(plan.source);
      if (!/private$/.test(plan.propagation)) await refuseAlone(plan.source, plan.propagation);
      return bind(plan.source, plan.target, [
        plan.recursive ? "rbind" : "bind",
        // One mount has nothing below it, and crun takes the "r" for a recursive bind.
        plan.recursive ? plan.propagation : plan.propagation.replace(/^r/, ""),
        ...(await readOnlyOptions(plan)),
        ...(plan.idMap ? await ownersFor(core, plan.idMap, plan.source, run) : []),
      ]);
    case "volume": {
      const root = await core.volumes.mount(plan.name, id);
      const source = plan.subpath === "" ? root : bindSubpath(core, id, root, plan.subpath);
      const owners = await ownersFor(core, plan.idMap ?? "", source, run);
      const readOnly = plan.readOnly ? ["ro"] : [];
      return bind(source, plan.target, ["rbind", "rprivate", ...readOnly, ...owners]);
    }
    case "tmpfs":
      return { type: "tmpfs", source: "tmpfs", target: plan.target, options: plan.options };
    default: {
      const root = await mountImage(core, plan, run.owners);
      const source = plan.subpath === "" ? root : bindSubpath(core, id, root, plan.subpath);
      return bind(source, plan.target, ["rbind", "rprivate", "ro"]);
    }
  }
}

/** Mounts propagate only over a mount that has peers. @throws "invalid" */
async function refuseAlone(source: string, propagation: string): Promise<void> {
  const on = mountOf(await realpath(source).catch(() => source));
  const wantsShared = propagation.endsWith("shared");
  if (!on || on.propagation === "shared" || (!wantsShared && on.propagation === "slave")) return;
  const kind = wantsShared ? "shared" : "shared or slave";
  const what = `path ${source} is mounted on ${on.target} but it is not a ${kind} mount`;
  throw new Failure("invalid", what, { hint: `"mount --make-rshared ${on.target}" makes it one` });
}

/** What makes the owners of a mount others than those on the disk. */
async function ownersFor(core: Core, idMap: string, source: string, { id, owners }: Run) {
  // A file system that cannot show other owners shows its own, as a bind mount does.
  if (idMap === "") return owners && canMapOwners(source, owners) ? ["idmap"] : [];
  const root = await core.snapshots.mount(id, owners);
  const user = core.records.get(id).config.User ?? "";
  return await idMapOptions(idMap, source, { root, user, owners });
}

/** Nothing can be mounted below a file, and runtimes take no recursive flag for one. */
async function readOnlyOptions(plan: MountPlan & { kind: "bind" }): Promise<string[]> {
  if (!plan.readOnly) return [];
  const isDeep = plan.readOnlyRecursive && (await isDirectory(plan.source));
  return isDeep ? ["ro", "rro"] : ["ro"];
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    // It went away since create: the runtime will say so.
    if ((error as { code?: string }).code === "ENOENT") return false;
    throw error;
  }
}

function bind(source: string, target: string, options: readonly string[]): Mount {
  return { type: "bind", source, target, options };
}

/** A `-v` whose source is missing gets a directory, as Docker does. */
async function makeSource(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o755 });
  } catch (cause) {
    // A file, a socket or a device is a source too.
    if ((cause as { code?: string }).code === "EEXIST") return;
    throw new Failure("invalid", `error while creating mount source path '${path}': ${cause}`, {
      cause,
    });
  }
}

async function mountImage(
  core: Core,
  plan: { key: string; image: Digest; source: string },
  owners: OwnerMap | undefined,
): Promise<string> {
  if (!core.snapshots.has(plan.key)) {
    const image = core.images.resolve(plan.image);
    await core.snapshots.prepare(plan.key, image.config.rootfs.diff_ids, { volatile: true });
  }
  return await core.snapshots.mount(plan.key, owners);
}

/** Undoes `readyMounts` as far as it is this container's own. */
export async function dropImageMounts(core: Core, plans: readonly MountPlan[]): Promise<void> {
  for (const plan of plans) {
    if (plan.kind === "image") await core.snapshots.remove(plan.key);
  }
}

/** The volumes of a container whose run is over are no longer mounted for it. */
export async function unmountVolumes(
  core: Core,
  id: string,
  plans: readonly MountPlan[],
): Promise<void> {
  for (const plan of plans) {
    if (plan.kind === "volume") await core.volumes.unmount(plan.name, id);
  }
}

/** What every container has mounted, or gets as an empty file; Docker keeps these out of diffs too. */
const alwaysMounted = `/dev /dev/pts /dev/shm /dev/mqueue /dev/console /proc /sys /etc/hosts
/etc/hostname /etc/resolv.conf /etc/mtab /.dockerenv /sbin/docker-init`.split(/\s+/);

/** Where something is mounted while the container runs: empty files and folders there say nothing. */
export function mountTargets(plans: readonly MountPlan[]): string[] {
  return [...alwaysMounted, ...plans.map(({ target }) => target)];
}

/** Keys of the snapshots that a container's mounts hold. */
export function mountKeys(plans: readonly MountPlan[]): string[] {
  return plans.flatMap((plan) => (plan.kind === "image" ? [plan.key] : []));
}

/** Lets go of a container's volumes, and with `anonymous` deletes those that were made for it. */
export async function releaseVolumes(
  core: Core,
  id: string,
  plans: readonly MountPlan[],
  { anonymous }: { anonymous: boolean },
): Promise<void> {
  for (const plan of plans) {
    if (plan.kind !== "volume") continue;
    await core.volumes.release(plan.name, id);
    const { driver } = core.volumes.list().find(({ name }) => name === plan.name) ?? plan;
    const isOver = anonymous && plan.anonymous && core.volumes.usersOf(plan.name).length === 0;
    if (!isOver) continue;
    try {
      await core.volumes.remove(plan.name, { force: true });
    } catch (error) {
      // A create that was cut off had not come to make it, or a user was quicker.
      if (!isFailure(error, "not_found")) throw error;
      continue;
    }
    const attributes = { driver };
    core.events.emit({ type: "volume", action: "destroy", actor: { id: plan.name, attributes } });
  }
}
