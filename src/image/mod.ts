/**
 * The image store: names, IDs and what they stand on. It joins the bytes of `content/` and the layers of
 * `snapshot/` into images: pull, push, load, save, import, commit, tag, remove, prune. A change of the
 * tables is one transaction; files that nobody needs any more go after it, and again at `collect` after
 * a crash.
 * Spec: https://github.com/opencontainers/image-spec/tree/v1.1.1
 */
export { openArchiveSource, packLayout } from "./archive-layout.ts";
export type { MadeImage } from "./built.ts";
export { compressLayer } from "./compress.ts";
export { LayoutFolder } from "./layout-folder.ts";
export { openImages, type Transfers } from "./open.ts";
export type { Found, Remote } from "./remote.ts";
export { openImageStore } from "./store.ts";
export type {
  HistoryRow,
  Image,
  ImageStore,
  LayerFile,
  Progress,
  Removal,
  Report,
} from "./types.ts";
