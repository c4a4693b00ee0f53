import { isFailure } from "../base/mod.ts";
import { applyChanges } from "../build/mod.ts";
import type { Image } from "../image/mod.ts";
import { familiarReference, mergeRunConfig, parseReference, type RunConfig } from "../oci/mod.ts";
import type { Core } from "./core.ts";
import { mountTargets } from "./mounts.ts";
import { pause, unpause } from "./stop.ts";
import type { ContainerConfig } from "./types.ts";

export interface CommitOptions {
  readonly reference?: string;
  readonly author: string;
  readonly comment: string;
  readonly pause: boolean;
  readonly changes: readonly string[];
  readonly config?: RunConfig;
}

/** As `Engine.commit`: what the container changed becomes a layer above its image. */
export async function commit(core: Core, id: string, options: CommitOptions): Promise<Image> {
  const container = core.records.get(id);
  const own = runConfigOf(container.config);
  const config = applyChanges(
    options.config ? mergeRunConfig(own, options.config) : own,
    options.changes,
  );
  const parent = core.images.find(container.imageId);
  const isPaused =
    options.pause && container.state.status === "running" && (await pauseUnlessEnded(core, id));
  let layer: Awaited<ReturnType<typeof core.snapshots.commit>>;
  try {
    const mountPoints = mountTargets(core.records.inside(id).mounts);
    layer = await core.snapshots.commit(id, { how: "copy", mountPoints });
  } finally {
    // It may have been killed meanwhile; then there is nothing to resume.
    if (isPaused && core.records.find(id)?.state.status === "paused") await unpause(core, id);
  }
  const image = await core.images.commit({
    parent,
    layer: layer.diffId,
    config,
    ...(options.reference ? { reference: options.reference } : {}),
    author: options.author,
    comment: options.comment,
    createdBy: (container.config.Cmd ?? []).join(" "),
  });
  const attributes = {
    comment: options.comment,
    imageID: image.id,
    imageRef: options.reference ? familiarReference(parseReference(options.reference)) : "",
  };
  const left = core.records.find(id);
  if (left) core.events.container(left, "commit", attributes);
  return image;
}

/** What of a container's configuration an image has too. */
export function runConfigOf(config: ContainerConfig): RunConfig {
  const {
    Hostname: _hostname,
    Domainname: _domainname,
    AttachStdin: _stdin,
    AttachStdout: _stdout,
    AttachStderr: _stderr,
    Tty: _tty,
    OpenStdin: _open,
    StdinOnce: _once,
    Image: _image,
    NetworkDisabled: _disabled,
    MacAddress: _mac,
    ...rest
  } = config;
  return rest;
}

/** False where it has ended meanwhile: then nothing changes its files. */
async function pauseUnlessEnded(core: Core, id: string): Promise<boolean> {
  try {
    await pause(core, id);
    return true;
  } catch (error) {
    if (isFailure(error, "conflict")) return false;
    throw error;
  }
}
