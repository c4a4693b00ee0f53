export type { Volume, VolumeSpec, VolumeStore } from "./types.ts";
