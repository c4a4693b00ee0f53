import { digestOf, formatImageConfig, type HistoryEntry, type ImageConfig } from "../oci/mod.ts";
import { unpackTar } from "../snapshot/mod.ts";
import type { Built } from "./result.ts";
import { commitStep, openScratch, type Tools } from "./tools.ts";

/**
 * The same image with one layer above its base in place of those that the build made. What a later step
 * deleted is in no layer any more; the base's layers stay as they are, shared with other images. The new
 * layer is pinned, and the caller's to release.
 */
export async function squash(tools: Tools, built: Built, signal: AbortSignal): Promise<Built> {
  const { diff_ids: layers } = built.config.rootfs;
  const base = layers.slice(0, built.baseLayers);
  const made = layers.slice(built.baseLayers);
  if (made.length < 2) return built;
  await using scratch = await openScratch(tools, base);
  for (const layer of made) {
    // Deletions are carried out on the overlay, which notes those of the base's files by itself.
    await unpackTar(tools.images.layerTar(layer), scratch.root, {
      whiteouts: "apply",
      devices: true,
      setRoot: true,
      signal,
    });
  }
  const { diffId } = await commitStep(tools, scratch, { timeMax: built.timeMax });
  tools.pins.add([diffId]);
  const config: ImageConfig = {
    ...built.config,
    rootfs: { type: "layers", diff_ids: [...base, diffId] },
    history: historyOf(built, made.length),
  };
  const id = digestOf(formatImageConfig(config));
  return { ...built, config, id, same: undefined };
}

/** The steps stay in the history, without layers; one entry more has theirs. */
function historyOf({ config, baseLayers }: Built, count: number): HistoryEntry[] {
  let below = baseLayers;
  const entries = (config.history ?? []).map((entry) => {
    if (entry.empty_layer || below-- > 0) return entry;
    return { ...entry, empty_layer: true };
  });
  const created = config.created === undefined ? {} : { created: config.created };
  return [...entries, { ...created, comment: `merge of ${count} layers` }];
}
