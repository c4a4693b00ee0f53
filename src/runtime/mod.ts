/**
 * The runtime: from a root filesystem and a process to a running container, by an OCI runtime (crun).
 * What it starts outlives this daemon; `adopt` takes it back. It knows no image, network or volume: it
 * gets mounts and namespaces as values.
 * Spec: https://github.com/opencontainers/runtime-spec/blob/v1.1.0/spec.md
 */
export { type BundleParts, bundleConfig } from "./bundle.ts";
export { capabilities, parseCapability } from "./capabilities.ts";
export {
  cdiFolders,
  type DeviceEdits,
  findDevices,
  listDevices,
  ruleOf,
  useCdiFolders,
} from "./cdi.ts";
export {
  defaultCapabilities,
  defaultMaskedPaths,
  defaultReadonlyPaths,
} from "./defaults.ts";
export { describeDevice } from "./host-devices.ts";
export { findRuntime } from "./programs.ts";
export { type OwnNamespaces, Remap } from "./remap.ts";
export { openRuntime, type RuntimeOptions } from "./runtime.ts";
export { type OciSeccomp, resolveSeccomp, type SeccompSubject } from "./seccomp.ts";
export type {
  BundleSpec,
  Chunk,
  Device,
  DeviceRule,
  Exit,
  Hooks,
  Logging,
  LogPlace,
  Namespace,
  OutputQuery,
  ProcessSpec,
  Resources,
  Rlimit,
  RunningProcess,
  Runtime,
  StartOptions,
  Usage,
  User,
} from "./types.ts";
export { resolveUser } from "./user.ts";
