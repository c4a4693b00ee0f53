/**
 * The distribution protocol, both ends. The server keeps repositories, tags and manifests in SQLite and
 * all bytes in the content store; a blob is served straight from its file.
 * Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
 */
export { type Access, openAccess, ownerAccess } from "./access.ts";
export { openRegistryAccess } from "./access-open.ts";
export { type Cache, openCache } from "./cache-open.ts";
export { type Copied, type CopySource, type CopyTarget, copyManifest } from "./client-copy.ts";
export { RegistryFailure } from "./client-failure.ts";
export { certificateFolders, type RegistrySettings } from "./client-host.ts";
export { openRegistryClient, type RegistryClient } from "./client-open.ts";
export { type FetchedManifest, isUnknown, type Repository } from "./client-repository.ts";
export { patienceMs, pause } from "./client-retry.ts";
export { noRoutes, type Routes } from "./client-routes.ts";
export type { Credentials } from "./client-token.ts";
export { boundsOf, emptyConfig, parseConfig, type RegistryConfig } from "./config.ts";
export { Hooks } from "./hook-queue.ts";
export { joinSettings, readTable } from "./routes-file.ts";
export { adminPrefix, answerAdmin, retireBy } from "./server-admin.ts";
export { Audit } from "./server-audit.ts";
export type { RefusedAccess, RegistryEvent, Tell } from "./server-call.ts";
export { limitRate } from "./server-limits.ts";
export { Metrics } from "./server-metrics.ts";
export { type Listen, type RegistryServer, serveRegistry } from "./server-open.ts";
export { compilePolicy, defaultPolicy, type Policy } from "./server-policy.ts";
export type { ServerParts } from "./server-protocol.ts";
export type { CheckReport } from "./store-check.ts";
export { type CollectReport, collect } from "./store-collect.ts";
export { openRegistryStore, type RegistryStore, type StoreBounds } from "./store-open.ts";
export type { Retired } from "./store-retention.ts";
