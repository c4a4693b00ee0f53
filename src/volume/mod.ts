/**
 * Named directories that outlive containers, by Docker's `local` driver: NAME is `volume/NAME/_data`,
 * with `type`, `o` and `device` a mount on it while a container uses it.
 */
export { openVolumeStore } from "./store.ts";
export type { Volume, VolumeSpec, VolumeStore } from "./types.ts";
