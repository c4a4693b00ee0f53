import { tarEnd } from "../archive/mod.ts";
import { release } from "../base/mod.ts";
import { formatPlatform } from "../oci/mod.ts";
import { packTar } from "../snapshot/mod.ts";
import type { Built } from "./result.ts";
import { openScratch, type Tools } from "./tools.ts";

/** A smaller chunk may wait behind others in a socket when the next one is asked for. */
const releasedBytesMin = 256 << 10;

/**
 * The files of images as one tar; those of several platforms each in a folder of its name. A chunk is gone
 * when the next one is asked for: a gigabyte of them would wait for the collector of garbage.
 */
export async function* filesTar(
  tools: Tools,
  built: readonly Built[],
  split: boolean | undefined,
): AsyncGenerator<Uint8Array, void> {
  const isSplit = split ?? built.length > 1;
  for (const [at, { config, platform }] of built.entries()) {
    await using scratch = await openScratch(tools, config.rootfs.diff_ids);
    const as = isSplit ? formatPlatform(platform).replaceAll("/", "_") : "";
    // The request that asked for it may be over: its signal is not for this.
    const tar = packTar(scratch.root, { as });
    for await (const bytes of at === built.length - 1 ? tar : withoutEnd(tar)) {
      yield bytes;
      if (bytes.length >= releasedBytesMin) release(bytes);
    }
  }
}

/** An archive less the blocks that say that it is over. */
async function* withoutEnd(tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let kept: Uint8Array = new Uint8Array();
  for await (const bytes of tar) {
    const all = Buffer.concat([kept, bytes]);
    kept = all.subarray(Math.max(0, all.length - tarEnd.length));
    yield all.subarray(0, all.length - kept.length);
  }
}
