/**
 * The messages of BuildKit's control API, of its gateway and of its sessions, as far as they are used
 * here. Names and numbers are those of https://github.com/moby/buildkit (*.proto).
 */
import { message } from "./protobuf.ts";

export const empty = message({});

/** google.protobuf.Timestamp. */
const timestampMessage = message({ seconds: [1, "whole"], nanos: [2, "whole"] });

export function timestamp(ms: number): Uint8Array {
  const seconds = Math.floor(ms / 1000);
  return timestampMessage.encode({ seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) });
}

// moby.buildkit.v1.Control
export const solveRequest = message({
  ref: [1, "text"],
  exporter: [3, "text"],
  exporterAttributes: [4, "map"],
  session: [5, "text"],
  frontend: [6, "text"],
  frontendAttributes: [7, "map"],
  cache: [8, "bytes"],
  entitlements: [9, "texts"],
  sourcePolicy: [12, "bytes"],
  exporters: [13, "blobs"],
});
export const cacheOptions = message({ exports: [4, "blobs"], imports: [5, "blobs"] });
export const cachePlace = message({ type: [1, "text"], attributes: [2, "map"] });
// moby.buildkit.v1.sourcepolicy
export const policy = message({ version: [1, "whole"], rules: [2, "blobs"] });
export const policyRule = message({
  action: [1, "whole"],
  selector: [2, "bytes"],
  updates: [3, "bytes"],
});
export const policySelector = message({
  identifier: [1, "text"],
  matchType: [2, "whole"],
  constraints: [3, "blobs"],
});
export const policyUpdates = message({ identifier: [1, "text"], attributes: [2, "map"] });
export const exporter = message({ type: [1, "text"], attributes: [2, "map"] });
export const solveResponse = message({ exporterResponse: [1, "map"] });
export const statusRequest = message({ ref: [1, "text"] });
export const statusResponse = message({
  vertexes: [1, "blobs"],
  statuses: [2, "blobs"],
  logs: [3, "blobs"],
  warnings: [4, "blobs"],
});
export const vertex = message({
  digest: [1, "text"],
  inputs: [2, "texts"],
  name: [3, "text"],
  cached: [4, "flag"],
  started: [5, "bytes"],
  completed: [6, "bytes"],
  error: [7, "text"],
});
export const vertexStatus = message({
  id: [1, "text"],
  vertex: [2, "text"],
  name: [3, "text"],
  current: [4, "whole"],
  total: [5, "whole"],
  timestamp: [6, "bytes"],
  started: [7, "bytes"],
  completed: [8, "bytes"],
});
export const vertexLog = message({
  vertex: [1, "text"],
  timestamp: [2, "bytes"],
  stream: [3, "whole"],
  msg: [4, "bytes"],
});
export const vertexWarning = message({
  vertex: [1, "text"],
  level: [2, "whole"],
  short: [3, "bytes"],
});
export const diskUsageResponse = message({ record: [1, "blobs"] });
export const usageRecord = message({
  id: [1, "text"],
  mutable: [2, "flag"],
  inUse: [3, "flag"],
  size: [4, "whole"],
  createdAt: [6, "bytes"],
  lastUsedAt: [7, "bytes"],
  description: [9, "text"],
  recordType: [10, "text"],
});
export const pruneRequest = message({
  filter: [1, "texts"],
  all: [2, "flag"],
  keepDuration: [3, "whole"],
  reservedSpace: [4, "whole"],
  maxUsedSpace: [5, "whole"],
  minFreeSpace: [6, "whole"],
});
export const diskUsageRequest = message({ filter: [1, "texts"] });
export const listWorkersResponse = message({ record: [1, "blobs"] });
export const workerRecord = message({
  id: [1, "text"],
  labels: [2, "map"],
  platforms: [3, "blobs"],
});
export const platform = message({
  architecture: [1, "text"],
  os: [2, "text"],
  variant: [3, "text"],
});
export const infoResponse = message({ buildkitVersion: [1, "bytes"] });
export const buildkitVersion = message({ package: [1, "text"], version: [2, "text"] });

// moby.buildkit.v1.frontend.LLBBridge
export const pong = message({ frontendCapabilities: [1, "blobs"], llbCapabilities: [2, "blobs"] });
export const capability = message({ id: [1, "text"], enabled: [2, "flag"] });
export const gatewaySolveRequest = message({
  definition: [1, "bytes"],
  frontend: [2, "text"],
  options: [3, "map"],
  inputs: [13, "blobMap"],
});
export const gatewaySolveResponse = message({ result: [3, "bytes"] });
export const gatewayResult = message({ ref: [3, "bytes"], metadata: [10, "blobMap"] });
export const gatewayRef = message({ id: [1, "text"], definition: [2, "bytes"] });
export const readFileRequest = message({
  ref: [1, "text"],
  path: [2, "text"],
  range: [3, "bytes"],
});
export const readFileRange = message({ offset: [1, "whole"], length: [2, "whole"] });
export const readFileAnswer = message({ data: [1, "bytes"] });
export const statFileRequest = message({ ref: [1, "text"], path: [2, "text"] });
export const statFileAnswer = message({ stat: [1, "bytes"] });
// pb: the low-level graph
export const graph = message({ operations: [1, "blobs"], about: [2, "blobMap"] });
export const operation = message({
  inputs: [1, "blobs"],
  works: [2, "bytes"],
  source: [3, "bytes"],
  files: [4, "bytes"],
  builds: [5, "bytes"],
});
export const operationInput = message({ digest: [1, "text"], index: [2, "whole"] });
export const operationSource = message({ identifier: [1, "text"], attributes: [2, "map"] });
export const returnRequest = message({ result: [1, "bytes"], error: [2, "bytes"] });
/** google.rpc.Status. */
export const rpcStatus = message({ code: [1, "whole"], message: [2, "text"] });

// The session's services: fsutil.types, moby.filesync.v1, moby.buildkit.secrets.v1, moby.sshforward.v1
export const packet = message({
  type: [1, "whole"],
  stat: [2, "bytes"],
  id: [3, "whole"],
  data: [4, "bytes"],
});
export const fileStat = message({
  path: [1, "text"],
  mode: [2, "whole"],
  uid: [3, "whole"],
  gid: [4, "whole"],
  size: [5, "whole"],
  modTime: [6, "wide"],
  linkName: [7, "text"],
  deviceMajor: [8, "whole"],
  deviceMinor: [9, "whole"],
  xattrs: [10, "blobMap"],
});
/** fsutil.types.Packet.PacketType. */
export const packetType = { stat: 0, request: 1, data: 2, end: 3, error: 4 } as const;
export const credentialsRequest = message({ host: [1, "text"] });
export const credentialsResponse = message({ username: [1, "text"], secret: [2, "text"] });
export const secretRequest = message({ id: [1, "text"] });
export const secretResponse = message({ data: [1, "bytes"] });
export const bytesMessage = message({ data: [1, "bytes"] });

/** grpc.health.v1.HealthCheckResponse: 1 is SERVING. */
export const healthResponse = message({ status: [1, "whole"] });

// containerd.services.content.v1
export const contentRead = message({
  digest: [1, "text"],
  offset: [2, "whole"],
  size: [3, "whole"],
});
export const contentReadAnswer = message({ offset: [1, "whole"], data: [2, "bytes"] });
export const contentWrite = message({
  action: [1, "whole"],
  ref: [2, "text"],
  total: [3, "whole"],
  expected: [4, "text"],
  offset: [5, "whole"],
  data: [6, "bytes"],
});
