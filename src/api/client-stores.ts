/** The client's functions for images, builds, networks, volumes and the system. */
import type {
  AuditAnswer,
  AuthBody,
  BuildAnswer,
  BuildQuery,
  DiskAuditAnswer,
  DiskCheckAnswer,
  DiskUsage,
  EndpointSettings,
  EventMessage,
  Filters,
  HistoryItem,
  ImageInspect,
  ImageSummary,
  NetworkCreateBody,
  NetworkInspect,
  NetworkWhy,
  PastBuildAnswer,
  PastStepAnswer,
  ProgressMessage,
  PrunedRecord,
  SearchResult,
  SystemInfo,
  VersionAnswer,
  VolumeAnswer,
  VolumeCreateBody,
  VolumeSnapshotAnswer,
} from "./schema.ts";
import type { Bytes, Query, Transport } from "./transport.ts";

type Call = Parameters<Transport["request"]>;

function callsOf(transport: Transport) {
  return {
    json: async <T>(...call: Call): Promise<T> => (await transport.request(...call)).json<T>(),
    done: async (...call: Call): Promise<void> => {
      await (await transport.request(...call)).text();
    },
    progress: async (...call: Call): Promise<AsyncIterable<ProgressMessage>> =>
      (await transport.request(...call)).lines<ProgressMessage>(),
  };
}

const registryAuth = (auth: AuthBody | undefined): Record<string, string> =>
  auth ? { "X-Registry-Auth": Buffer.from(JSON.stringify(auth)).toString("base64url") } : {};

export function imageCalls(transport: Transport) {
  const { json, done, progress } = callsOf(transport);
  const at = (name: string, tail = "") => `/images/${encodeName(name)}${tail}`;
  const past = (id: string, tail = "") => `/build/history/${encodeURIComponent(id)}${tail}`;
  return {
    list: (query: { all?: boolean; filters?: Filters; digests?: boolean } = {}) =>
      json<ImageSummary[]>("GET", "/images/json", { query }),
    inspect: (name: string) => json<ImageInspect>("GET", at(name, "/json")),
    history: (name: string) => json<HistoryItem[]>("GET", at(name, "/history")),
    tag: (name: string, query: { repo: string; tag?: string }) =>
      done("POST", at(name, "/tag"), { query }),
    remove: (name: string, query: { force?: boolean; noprune?: boolean } = {}) =>
      json<({ Untagged: string } | { Deleted: string })[]>("DELETE", at(name), { query }),
    search: (query: { term: string; limit?: number; filters?: Filters }) =>
      json<SearchResult[]>("GET", "/images/search", { query }),
    prune: (filters: Filters = {}) =>
      json<{
        ImagesDeleted: ({ Untagged: string } | { Deleted: string })[] | null;
        SpaceReclaimed: number;
      }>("POST", "/images/prune", { query: { filters } }),
    pull: (
      query: { fromImage: string; tag?: string; platform?: string },
      { auth, signal }: { auth?: AuthBody; signal?: AbortSignal } = {},
    ) =>
      progress("POST", "/images/create", {
        query,
        headers: registryAuth(auth),
        ...(signal ? { signal } : {}),
      }),
    push: (
      name: string,
      query: { tag?: string; platform?: string } = {},
      { auth }: { auth?: AuthBody } = {},
    ) => progress("POST", at(name, "/push"), { query, headers: registryAuth(auth) }),
    /** A root file system as tar (compressed or not) becomes an image. */
    import: (
      query: {
        repo?: string;
        tag?: string;
        message?: string;
        changes?: readonly string[];
        platform?: string;
        /** "-" for `body`, or a URL. */
        fromSrc: string;
      },
      body?: Bytes,
    ) => progress("POST", "/images/create", { query, ...(body ? { body } : {}) }),
    load: (body: Bytes, query: { quiet?: boolean; platform?: string } = {}) =>
      progress("POST", "/images/load", {
        query: { ...query, quiet: query.quiet ? "1" : "0" },
        body,
      }),
    save: async (names: readonly string[], query: { platform?: string } = {}): Promise<Bytes> =>
      (await transport.request("GET", "/images/get", { query: { ...query, names } })).bytes(),
    /** The context goes as a tar, compressed or not. */
    build: (
      query: BuildQuery,
      context: Bytes | undefined,
      { registries, signal }: { registries?: Record<string, AuthBody>; signal?: AbortSignal } = {},
    ) =>
      progress("POST", "/build", {
        query: buildQuery(query),
        headers: registries
          ? { "X-Registry-Config": Buffer.from(JSON.stringify(registries)).toString("base64url") }
          : {},
        ...(context ? { body: context } : {}),
        ...(signal ? { signal } : {}),
      }),
    /** The tar of a result that a build told of; it can be fetched once. */
    buildResult: async (handle: string): Promise<Bytes> =>
      (await transport.request("GET", `/build/results/${encodeURIComponent(handle)}`)).bytes(),
    /** Hands a secret over; its handle is for one build. */
    keepSecret: (body: Bytes) =>
      json<{ Id: string }>("POST", "/build/secrets", {
        body,
        headers: { "Content-Type": "application/octet-stream" },
      }),
    /** Asks about a Dockerfile, and builds nothing: `query.call` says what. */
    call: (query: BuildQuery, body: Bytes | undefined) =>
      json<BuildAnswer>("POST", "/build", {
        query: buildQuery(query),
        ...(body ? { body, headers: { "Content-Type": "application/x-tar" } } : {}),
      }),
    /** Sends a folder as tar ahead of its build; its handle is for one build. */
    keepContext: (body: Bytes) =>
      json<{ Id: string }>("POST", "/build/contexts", {
        body,
        headers: { "Content-Type": "application/x-tar" },
      }),
    /** Sends files that a build asked for. */
    sendPieces: (id: string, { body, sizeBytes }: { body: Bytes; sizeBytes: number }) =>
      done("POST", "/build/contexts", {
        body,
        query: { for: id, size: sizeBytes },
        headers: { "Content-Type": "application/x-tar" },
      }),
    /** A connection over which the engine asks an SSH agent for as long as it is open. */
    forwardAgent: (id: string) => transport.hijack("/build/ssh", { query: { id } }),
    builds: () => json<PastBuildAnswer[]>("GET", "/build/history"),
    inspectBuild: (id: string) =>
      json<PastBuildAnswer & { steps: PastStepAnswer[] }>("GET", past(id)),
    buildLog: async (id: string): Promise<Bytes> =>
      (await transport.request("GET", past(id, "/logs"))).bytes(),
    removeBuild: (id: string) => done("DELETE", past(id)),
    pruneBuilds: (query: Query = {}) =>
      json<{
        CachesDeleted: readonly string[] | null;
        SpaceReclaimed: number;
        /** With `explain`. */
        Records?: readonly PrunedRecord[];
      }>("POST", "/build/prune", { query }),
  };
}

function buildQuery({ rm, outputs, attests, cachefrom, cacheto, ...query }: BuildQuery) {
  return {
    ...query,
    rm: rm === false ? "0" : "1",
    // Extra hosts go as one list in JSON would not be understood: the name is repeated.
    extrahosts: query.extrahosts ?? [],
    t: query.t ?? [],
    ...(attests?.length ? { attests: JSON.stringify(attests) } : {}),
    ...(outputs ? { outputs: JSON.stringify(outputs) } : {}),
    ...(cachefrom ? { cachefrom: JSON.stringify(cachefrom) } : {}),
    ...(cacheto ? { cacheto: JSON.stringify(cacheto) } : {}),
  };
}

export function networkCalls(transport: Transport) {
  const { json, done } = callsOf(transport);
  const at = (id: string, tail = "") => `/networks/${encodeURIComponent(id)}${tail}`;
  return {
    list: (filters: Filters = {}) =>
      json<NetworkInspect[]>("GET", "/networks", { query: { filters } }),
    inspect: (id: string, query: { verbose?: boolean; scope?: string } = {}) =>
      json<NetworkInspect>("GET", at(id), { query }),
    create: (body: NetworkCreateBody) =>
      json<{ Id: string; Warning: string }>("POST", "/networks/create", { json: body }),
    remove: (id: string) => done("DELETE", at(id)),
    connect: (id: string, container: string, endpoint?: Partial<EndpointSettings>) =>
      done("POST", at(id, "/connect"), {
        json: { Container: container, ...(endpoint ? { EndpointConfig: endpoint } : {}) },
      }),
    disconnect: (id: string, container: string, force = false) =>
      done("POST", at(id, "/disconnect"), { json: { Container: container, Force: force } }),
    why: (from: string, to: string) =>
      json<NetworkWhy>("GET", "/lading/network/why", { query: { from, to } }),
    prune: (filters: Filters = {}) =>
      json<{ NetworksDeleted: readonly string[] | null }>("POST", "/networks/prune", {
        query: { filters },
      }),
  };
}

export function volumeCalls(transport: Transport) {
  const { json, done } = callsOf(transport);
  const at = (name: string, tail = "") => `/volumes/${encodeURIComponent(name)}${tail}`;
  const snapshot = (name: string, id: string, tail = "") =>
    at(name, `/snapshots/${encodeURIComponent(id)}${tail}`);
  return {
    list: (filters: Filters = {}) =>
      json<{ Volumes: VolumeAnswer[] | null; Warnings: readonly string[] | null }>(
        "GET",
        "/volumes",
        { query: { filters } },
      ),
    inspect: (name: string, query: { size?: boolean } = {}) =>
      json<VolumeAnswer>("GET", at(name), { query }),
    clone: (name: string, query: { to: string; running?: string }) =>
      json<VolumeAnswer>("POST", at(name, "/clone"), { query }),
    rename: (name: string, query: { name: string }) =>
      json<VolumeAnswer>("POST", at(name, "/rename"), { query }),
    export: async (name: string, query: { running?: string } = {}): Promise<Bytes> =>
      (await transport.request("GET", at(name, "/export"), { query })).bytes(),
    import: (body: Bytes, query: { name?: string } = {}) =>
      json<VolumeAnswer>("POST", "/volumes/import", { query, body }),
    snapshots: (name: string) =>
      json<readonly VolumeSnapshotAnswer[]>("GET", at(name, "/snapshots")),
    takeSnapshot: (name: string, query: { name?: string; running?: string } = {}) =>
      json<VolumeSnapshotAnswer>("POST", at(name, "/snapshots"), { query }),
    restoreSnapshot: (name: string, id: string) => done("POST", snapshot(name, id, "/restore")),
    removeSnapshot: (name: string, id: string) => done("DELETE", snapshot(name, id)),
    create: (body: VolumeCreateBody) =>
      json<VolumeAnswer>("POST", "/volumes/create", { json: body }),
    remove: (name: string, query: { force?: boolean } = {}) => done("DELETE", at(name), { query }),
    prune: (filters: Filters = {}) =>
      json<{ VolumesDeleted: readonly string[] | null; SpaceReclaimed: number }>(
        "POST",
        "/volumes/prune",
        { query: { filters } },
      ),
  };
}

export function systemCalls(transport: Transport) {
  const { json } = callsOf(transport);
  return {
    /** The headers of the answer: `api-version`, `builder-version`, `server` and so on. */
    ping: async (): Promise<ReadonlyMap<string, string>> => {
      const reply = await transport.request("HEAD", "/_ping");
      await reply.text();
      return reply.headers;
    },
    version: () => json<VersionAnswer>("GET", "/version"),
    info: () => json<SystemInfo>("GET", "/info"),
    audit: () => json<AuditAnswer>("GET", "/lading/audit"),
    /** Ours: who owns each byte of the data root. */
    auditDisk: () => json<DiskAuditAnswer>("GET", "/lading/disk"),
    /** Ours: what nobody owns; `repair` removes it. */
    checkDisk: (repair: boolean) =>
      json<DiskCheckAnswer>("POST", "/lading/fsck", { query: { repair } }),
    diskUsage: (query: { type?: readonly string[] } = {}) =>
      json<DiskUsage>("GET", "/system/df", { query }),
    auth: (body: AuthBody) =>
      json<{ Status: string; IdentityToken?: string }>("POST", "/auth", { json: body }),
    events: async (
      query: { since?: string; until?: string; filters?: Filters } = {},
      signal?: AbortSignal,
    ): Promise<AsyncIterable<EventMessage>> => {
      const options = { query, ...(signal ? { signal } : {}) };
      return (await transport.request("GET", "/events", options)).lines<EventMessage>();
    },
  };
}

/** A reference keeps its slashes: the engine reads everything between /images/ and the last word. */
function encodeName(name: string): string {
  return encodeURIComponent(name)
    .replaceAll("%2F", "/")
    .replaceAll("%3A", ":")
    .replaceAll("%40", "@");
}
