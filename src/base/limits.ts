/** Bounds that more than one folder must agree on. Those of one folder stand in that folder. */
export const limits = {
  /** A manifest or index; the distribution specification lets registries refuse more than 4 MiB. */
  manifestBytesMax: 4 << 20,
  /** An image config. */
  configBytesMax: 8 << 20,
  /** A JSON body sent to the API. */
  bodyBytesMax: 16 << 20,
  /** One layer, uncompressed. */
  layerBytesMax: 2 ** 40,
  /** Entries in one archive. */
  archiveEntriesMax: 5_000_000,
  /** A path in an archive, bytes (PATH_MAX). */
  pathBytesMax: 4096,
  /** Layers of one image; overlayfs stacks at most 500 lower directories. */
  layersMax: 500,
} as const;
