/** The client's functions for containers and the processes executed in them. */
import { type Frame, FrameDecoder } from "./frames.ts";
import type {
  Change,
  CommitConfig,
  ContainerInspect,
  ContainerSummary,
  CreateAnswer,
  CreateBody,
  EndpointSettings,
  ExecBody,
  ExecInspect,
  ExecStartBody,
  Filters,
  PathStat,
  StatsAnswer,
  TopAnswer,
  UpdateBody,
  WaitAnswer,
} from "./schema.ts";
import type { Bytes, Hijacked, Reply, Transport } from "./transport.ts";

const at = (id: string, tail = "") => `/containers/${encodeURIComponent(id)}${tail}`;

export interface AttachQuery {
  readonly stdin?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  readonly logs?: boolean;
  readonly stream?: boolean;
  readonly detachKeys?: string;
}

export interface LogQuery {
  readonly follow?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  /** Seconds since the epoch, with a fraction if need be. */
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: boolean;
  /** A number of lines or "all". */
  readonly tail?: string;
  readonly details?: boolean;
}

/** A tar and what it was made from. */
export interface Archive {
  readonly stat: PathStat;
  readonly tar: Bytes;
}

export function containerCalls(transport: Transport) {
  const json = async <T>(...call: Parameters<Transport["request"]>): Promise<T> =>
    (await transport.request(...call)).json<T>();
  const done = async (...call: Parameters<Transport["request"]>): Promise<void> => {
    await (await transport.request(...call)).text();
  };
  return {
    list: (query: { all?: boolean; limit?: number; size?: boolean; filters?: Filters } = {}) =>
      json<ContainerSummary[]>("GET", "/containers/json", { query }),
    create: (body: CreateBody, query: { name?: string; platform?: string } = {}) =>
      json<CreateAnswer>("POST", "/containers/create", { query, json: body }),
    inspect: (id: string, query: { size?: boolean } = {}) =>
      json<ContainerInspect>("GET", at(id, "/json"), { query }),
    /** A running container is success. */
    start: (id: string) => unlessSo(done("POST", at(id, "/start"))),
    /** `t` in seconds. A stopped container is success. */
    stop: (id: string, query: { signal?: string; t?: number } = {}) =>
      unlessSo(done("POST", at(id, "/stop"), { query })),
    restart: (id: string, query: { signal?: string; t?: number } = {}) =>
      done("POST", at(id, "/restart"), { query }),
    kill: (id: string, query: { signal?: string } = {}) => done("POST", at(id, "/kill"), { query }),
    pause: (id: string) => done("POST", at(id, "/pause")),
    unpause: (id: string) => done("POST", at(id, "/unpause")),
    rename: (id: string, name: string) => done("POST", at(id, "/rename"), { query: { name } }),
    update: (id: string, body: UpdateBody) =>
      json<{ Warnings: readonly string[] | null }>("POST", at(id, "/update"), { json: body }),
    remove: (id: string, query: { force?: boolean; v?: boolean; link?: boolean } = {}) =>
      done("DELETE", at(id), { query }),
    /**
     * Resolves once the engine watches; `exit` resolves with the exit code. So that no exit is missed,
     * await this before `start`.
     */
    wait: async (
      id: string,
      query: { condition?: "not-running" | "next-exit" | "removed" } = {},
      signal?: AbortSignal,
    ): Promise<{ exit: Promise<WaitAnswer> }> => {
      const options = { query, ...(signal ? { signal } : {}) };
      const reply = await transport.request("POST", at(id, "/wait"), options);
      return { exit: reply.json<WaitAnswer>() };
    },
    attach: (id: string, query: AttachQuery): Promise<Hijacked> =>
      transport.hijack(at(id, "/attach"), { query: { ...query } }),
    /** Read it with `framesOf`. */
    logs: (id: string, query: LogQuery, signal?: AbortSignal): Promise<Reply> =>
      transport.request("GET", at(id, "/logs"), {
        query: { ...query },
        ...(signal ? { signal } : {}),
      }),
    resize: (id: string, h: number, w: number) =>
      done("POST", at(id, "/resize"), { query: { h, w } }),
    top: (id: string, query: { ps_args?: string } = {}) =>
      json<TopAnswer>("GET", at(id, "/top"), { query }),
    changes: (id: string) => json<Change[] | null>("GET", at(id, "/changes")),
    /** One answer a second; with `stream` false one answer and the end. */
    stats: async (
      id: string,
      query: { stream?: boolean; "one-shot"?: boolean } = {},
      signal?: AbortSignal,
    ): Promise<AsyncIterable<StatsAnswer>> => {
      const asked = { ...query, stream: query.stream === false ? "0" : "1" };
      const options = { query: asked, ...(signal ? { signal } : {}) };
      return (await transport.request("GET", at(id, "/stats"), options)).lines<StatsAnswer>();
    },
    statPath: async (id: string, path: string): Promise<PathStat> => {
      const reply = await transport.request("HEAD", at(id, "/archive"), { query: { path } });
      await reply.text();
      return statOf(reply);
    },
    readArchive: async (id: string, path: string): Promise<Archive> => {
      const reply = await transport.request("GET", at(id, "/archive"), { query: { path } });
      return { stat: statOf(reply), tar: reply.bytes() };
    },
    writeArchive: (
      id: string,
      query: { path: string; noOverwriteDirNonDir?: boolean; copyUIDGID?: boolean },
      tar: Bytes,
    ) => done("PUT", at(id, "/archive"), { query, body: tar }),
    export: async (id: string): Promise<Bytes> =>
      (await transport.request("GET", at(id, "/export"))).bytes(),
    commit: (
      query: {
        container: string;
        repo?: string;
        tag?: string;
        comment?: string;
        author?: string;
        /** Default true. */
        pause?: boolean;
        changes?: readonly string[];
      },
      config: CommitConfig = {},
    ) => {
      const asked = { ...query, pause: query.pause === false ? "0" : "1" };
      return json<{ Id: string }>("POST", "/commit", { query: asked, json: config });
    },
    prune: (filters: Filters = {}) =>
      json<{ ContainersDeleted: readonly string[] | null; SpaceReclaimed: number }>(
        "POST",
        "/containers/prune",
        { query: { filters } },
      ),
  };
}

export function execCalls(transport: Transport) {
  const of = (id: string, tail: string) => `/exec/${encodeURIComponent(id)}${tail}`;
  return {
    create: async (container: string, body: ExecBody): Promise<{ Id: string }> =>
      (await transport.request("POST", at(container, "/exec"), { json: body })).json(),
    start: (id: string, body: ExecStartBody = {}): Promise<Hijacked> =>
      transport.hijack(of(id, "/start"), { json: { ...body, Detach: false } }),
    startDetached: async (id: string): Promise<void> => {
      const body = { Detach: true };
      await (await transport.request("POST", of(id, "/start"), { json: body })).text();
    },
    resize: async (id: string, h: number, w: number): Promise<void> => {
      const query = { h, w };
      await (await transport.request("POST", of(id, "/resize"), { query })).text();
    },
    inspect: async (id: string): Promise<ExecInspect> =>
      (await transport.request("GET", of(id, "/json"))).json(),
  };
}

/** What `PUT /containers/{id}/connect` and `create` take; exported for callers' types. */
export type EndpointRequest = Partial<EndpointSettings>;

/** The output in an answer of `logs`; all of a terminal's is stream 1. */
export async function* framesOf(reply: Reply): AsyncIterable<Frame> {
  const decoder = new FrameDecoder();
  const isRaw = reply.headers.get("content-type") === "application/vnd.docker.raw-stream";
  for await (const bytes of reply.bytes()) {
    if (isRaw) yield { stream: 1, bytes };
    else yield* decoder.feed(bytes);
  }
}

function statOf(reply: Reply): PathStat {
  const text = reply.headers.get("x-docker-container-path-stat") ?? "e30=";
  return JSON.parse(Buffer.from(text, "base64").toString()) as PathStat;
}

/** 304 means "it is so already": for start and stop that is success. */
async function unlessSo(call: Promise<void>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if ((error as { code?: string }).code !== "not_modified") throw error;
  }
}
