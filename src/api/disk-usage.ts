/** `GET /system/df`: what takes space. */

import { Failure } from "../base/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { imageNameOf, sizesOf } from "./list-containers.ts";
import { sharedBytesOf } from "./list-images.ts";
import { cacheRecord } from "./route-build-prune.ts";
import { isPlain, volumeAnswer } from "./route-volumes.ts";
import type {
  BuildCacheRecord,
  ContainerSummary,
  DiskUsage,
  ImageSummary,
  VolumeAnswer,
} from "./schema.ts";
import { containerSummary } from "./wire-container.ts";
import { imageSummary } from "./wire-image.ts";

const types = ["container", "image", "volume", "build-cache"];

export async function diskUsage(exchange: Exchange, context: Context): Promise<void> {
  const asked = exchange.query.getAll("type");
  const unknown = asked.find((each) => !types.includes(each));
  if (unknown !== undefined) {
    throw new Failure("invalid", `unknown object type: ${unknown.slice(0, 100)}`);
  }
  const has = (type: string) => asked.length === 0 || asked.includes(type);
  const { snapshots } = context;
  const layersBytes = snapshots.layers().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const answer: DiskUsage = {
    LayersSize: has("image") ? layersBytes : 0,
    Images: has("image") ? imagesPart(context, exchange.minor) : null,
    Containers: has("container") ? await containersPart(context) : null,
    Volumes: has("volume") ? await volumesPart(context) : null,
    BuildCache: has("build-cache") ? cachePart(context) : null,
  };
  exchange.json(200, answer);
}

function imagesPart(context: Context, minor: number): ImageSummary[] {
  const shared = sharedBytesOf(context);
  const users = new Map<string, number>();
  for (const { imageId } of context.engine.list()) {
    users.set(imageId, (users.get(imageId) ?? 0) + 1);
  }
  return context.images.list().map((image) =>
    imageSummary(image, {
      minor,
      sharedBytes: shared.get(image.id) ?? 0,
      containers: users.get(image.id) ?? 0,
    }),
  );
}

async function containersPart(context: Context): Promise<ContainerSummary[]> {
  const { engine, images } = context;
  const list: ContainerSummary[] = [];
  for (const container of engine.list()) {
    const summary = containerSummary(engine, container, imageNameOf(images, container));
    list.push({ ...summary, ...(await sizesOf(context, container)) });
  }
  return list;
}

async function volumesPart({ volumes }: Context): Promise<VolumeAnswer[]> {
  const list: VolumeAnswer[] = [];
  for (const volume of volumes.list().filter(isPlain)) {
    const sizeBytes = await volumes.usage(volume.name);
    list.push(volumeAnswer(volume, { sizeBytes, users: volumes.usersOf(volume.name).length }));
  }
  return list;
}

function cachePart({ builder }: Context): BuildCacheRecord[] {
  return builder.cache().map(cacheRecord);
}
