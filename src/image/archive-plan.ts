import { Failure, limits } from "../base/mod.ts";
import {
  type Digest,
  digestOf,
  formatPlatform,
  hostPlatform,
  type ImageConfig,
  JsonReader,
  matchesPlatform,
  type Platform,
  parseImageConfig,
} from "../oci/mod.ts";
import type { ArchiveEntry, ArchiveFile } from "./archive-file.ts";
import { readLayout } from "./layout-plan.ts";
import { type PlannedImage, pairLayers, tagName } from "./planned.ts";

const imagesMax = 1_000;

/**
 * Settles what is in an archive, before anything is stored: an OCI layout, what `docker save` wrote
 * before it had one, or both in one, whose names are then joined. Of several platforms the one that was
 * asked for is taken, else the host's, else the first.
 * @throws Failure "corrupt" | "invalid" | "not_found" (a part or the platform) | "unsupported"
 */
export async function planArchive(
  archive: ArchiveFile,
  platform: Platform | undefined,
): Promise<PlannedImage[]> {
  const index = archive.find("index.json");
  const list = archive.find("manifest.json");
  if (!index && !list) throw notAnImage(archive);
  const isLayout = index !== undefined && archive.find("oci-layout") !== undefined;
  const layout = isLayout ? await readLayout(archive, { index, platform }) : undefined;
  const found = new Map<Digest, PlannedImage>();
  for (const image of layout?.chosen ?? []) found.set(image.id, join(found.get(image.id), image));
  for (const image of list ? await readList(archive, list) : []) {
    const known = found.get(image.id);
    if (known) found.set(image.id, join(known, image));
    else if (!layout?.seen.has(image.id)) found.set(image.id, image);
  }
  const images = [...found.values()].filter((image) => isWanted(image.config, platform));
  if (images.length === 0) throw nothingFound(found.size + (layout?.seen.size ?? 0), platform);
  for (const { config } of images) checkSystem(config);
  return images;
}

/** Two finds of one image: the names of both, the manifest of whichever has one. */
function join(one: PlannedImage | undefined, other: PlannedImage): PlannedImage {
  if (!one) return other;
  const names = [...new Set([...one.names, ...other.names])];
  return { ...(one.manifest ? one : other), names };
}

function isWanted(config: ImageConfig, platform: Platform | undefined): boolean {
  return platform === undefined || matchesPlatform(platform, config);
}

function checkSystem({ os }: ImageConfig): void {
  if (os === hostPlatform().os) return;
  throw new Failure("unsupported", `cannot load ${os.slice(0, 50)} image on ${hostPlatform().os}`);
}

function nothingFound(count: number, platform: Platform | undefined): Failure {
  if (count === 0 || !platform) {
    return new Failure("unsupported", "Cannot load the archive: there is no image in it", {
      hint: "Artifacts and attestations alone cannot be loaded",
    });
  }
  const asked = formatPlatform(platform);
  return new Failure(
    "not_found",
    `Cannot load the archive: no image in it provides the specified platform (${asked})`,
  );
}

function notAnImage(archive: ArchiveFile): Failure {
  if (archive.find("repositories")) {
    return new Failure("unsupported", "Cannot load the archive: it is of Docker's first format", {
      hint: "Save the image again with Docker 1.10 or later",
    });
  }
  const why = "it has neither manifest.json nor index.json";
  return new Failure("invalid", `Cannot load the archive: it is no image: ${why}`, {
    hint: "A root filesystem is for import",
  });
}

/** Reads `manifest.json`: configs, names and layers by their paths in the archive. */
async function readList(archive: ArchiveFile, list: ArchiveEntry): Promise<PlannedImage[]> {
  const reader = JsonReader.parse(
    await archive.bytes(list, limits.manifestBytesMax),
    "manifest.json",
  );
  const images: PlannedImage[] = [];
  for (const item of reader.items(imagesMax)) {
    const path = item.field("Config").text();
    const configBytes = await archive.bytes(archive.get(path), limits.configBytesMax);
    const config = parseImageConfig(configBytes);
    const tags = item.field("RepoTags");
    const layers = item.field("Layers");
    const paths = layers.isAbsent ? [] : layers.texts(limits.layersMax);
    images.push({
      id: digestOf(configBytes),
      configBytes,
      config,
      names: tags.isAbsent ? [] : tags.texts(imagesMax).map((tag) => tagName(tag)),
      layers: pairLayers(config, paths).map(([diffId, layer]) => ({
        diffId,
        entry: archive.get(layer),
      })),
    });
  }
  return images;
}
