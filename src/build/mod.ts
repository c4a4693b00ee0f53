/**
 * The builder: a Dockerfile and a context become an image. Text → instructions (parse) → stages →
 * steps with digests → layers from the cache or made here → an image in the store.
 * Reference: https://docs.docker.com/reference/dockerfile/
 */

export { type Attest, parseAttests } from "./attest.ts";
export { type BuilderOptions, openBuilder } from "./builder.ts";
export { type CachePlace, type CacheSource, parseCachePlace } from "./cache-config.ts";
export { applyChanges } from "./change.ts";
export { dockerfileText, readInside } from "./context.ts";
export { type Arrival, type ContextFiles, contextFiles, keepListing } from "./context-files.ts";
export type { PastBuild, PastStep } from "./history.ts";
export { type Ignore, parseIgnore } from "./ignore.ts";
export { type NamedContext, parseNamedContext } from "./named-context.ts";
export { knownAttributes, type Output, parseOutput } from "./output.ts";
export { secretBytesMax } from "./parts.ts";
export type { OpenRepository, PushImage } from "./produce.ts";
export { worthOf } from "./prune.ts";
export { type Reason, reasonText } from "./reasons.ts";
export type { SentAnswer, ToldFile } from "./sent-files.ts";
export { CommandFailure } from "./source.ts";
export { parseSourcePolicy, type SourceRule } from "./source-policy.ts";
export { type Agent, agentOver } from "./ssh-agent.ts";
export type { Pull } from "./tools.ts";
export {
  type BuildCall,
  type BuildEvent,
  type Builder,
  type BuildRequest,
  buildCalls,
  type CacheRow,
  type Entitlement,
  entitlements,
  type Produced,
  type RegistryLogin,
  type RunLimits,
} from "./types.ts";
