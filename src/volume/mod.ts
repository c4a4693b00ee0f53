/**
 * Named directories that outlive containers. By Docker's `local` driver: NAME is `volume/NAME/_data`,
 * with `type`, `o` and `device` a mount on it while a container runs with it. Or by a plugin, which
 * says where they are.
 */
export { openVolumeStore } from "./store.ts";
export type { Fill, Volume, VolumeSnapshot, VolumeSpec, VolumeStore } from "./types.ts";
