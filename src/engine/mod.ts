/**
 * Containers: the state machine that joins images, snapshots, the runtime, networks and volumes; with
 * events, restart policies and health checks. docs/design/containers.md says what happens when.
 */

export type { ContainerDefaults } from "./defaults.ts";
export { type EngineOptions, openEngine } from "./engine.ts";
export { logDetails } from "./forwarding.ts";
export { checkLogConfig } from "./logging.ts";
export type { PortChange } from "./publish.ts";
export { parseRestartPolicy } from "./restart-policy.ts";
export type {
  Attachment,
  AttachRequest,
  Container,
  ContainerConfig,
  ContainerState,
  CreateRequest,
  Engine,
  EngineEvent,
  Exec,
  ExecRequest,
  HealthState,
  HostConfig,
  MountPoint,
  MountRequest,
  PathStat,
  PortBinding,
  ResourceRequest,
  RestartPolicy,
  StartFailure,
  Stats,
  Status,
} from "./types.ts";
export { hostUsers, type Users } from "./users.ts";
