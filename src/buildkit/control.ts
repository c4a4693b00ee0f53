/**
 * BuildKit's control API, for clients that build with it (buildx, Compose): what they ask of the Dockerfile
 * frontend goes to our builder. The low-level graph (LLB) is not taken.
 */
import type { Socket } from "node:net";
import { Failure, toFailure } from "../base/mod.ts";
import type { Builder, Produced } from "../build/mod.ts";
import { hostPlatform } from "../oci/mod.ts";
import { type Call, type Methods, serveGrpc, unary } from "./grpc.ts";
import * as messages from "./messages.ts";
import { Progress } from "./progress.ts";
import { type Session, Sessions } from "./session.ts";
import { answer, type Exporter, solve } from "./solve.ts";

const buildsMax = 64;
/** `Status`, `Solve` and the gateway's calls come side by side, in any order. */
const arrivalMsMax = 10_000;

/** A build from its `Control.Solve` on. */
interface Build {
  readonly session: Session;
  readonly progress: Progress;
  readonly exporters: readonly Exporter[];
  readonly allow: readonly string[];
  readonly signal: AbortSignal;
  produced: Produced | undefined;
  readonly returned: PromiseWithResolvers<void>;
}

/** What a build is opened with. */
interface Opening {
  /** The client's name for it. */
  readonly ref: string;
  readonly session: string;
  readonly exporters: readonly Exporter[];
  readonly entitlements: readonly string[];
}

/** A build without `Control.Solve`. */
export interface Asked extends Opening {
  /** Of the Dockerfile frontend. */
  readonly attributes: ReadonlyMap<string, string>;
  /** A context that came otherwise than by the session. */
  readonly contextPath?: string;
  readonly signal: AbortSignal;
}

export interface ControlOptions {
  readonly builder: Builder;
  readonly version: string;
}

export class Control {
  readonly sessions = new Sessions();
  readonly #builder: Builder;
  readonly #version: string;
  readonly #builds = new Map<string, Build>();
  readonly #arrivals = new Set<() => void>();
  readonly #methods: Methods;

  constructor({ builder, version }: ControlOptions) {
    this.#builder = builder;
    this.#version = version;
    const control = "/moby.buildkit.v1.Control";
    const bridge = "/moby.buildkit.v1.frontend.LLBBridge";
    this.#methods = new Map([
      ["/grpc.health.v1.Health/Check", unary(() => messages.healthResponse.encode({ status: 1 }))],
      [`${control}/Info`, unary(() => this.#info())],
      [`${control}/ListWorkers`, unary(() => this.#workers())],
      [`${control}/DiskUsage`, unary(() => this.#usage())],
      [`${control}/Prune`, (call) => this.#prune(call)],
      [`${control}/Solve`, unary((request, call) => this.#solve(request, call))],
      [`${control}/Status`, (call) => this.#status(call)],
      // What was built before is told by `lading build history`.
      [`${control}/ListenBuildHistory`, async () => {}],
      [`${bridge}/Ping`, unary(() => ping())],
      [`${bridge}/Solve`, unary((request, call) => this.#frontend(request, call))],
      [`${bridge}/Return`, unary((request, call) => this.#returned(request, call))],
    ]);
  }

  /** Serves a connection, after its 101. */
  serve(socket: Socket): void {
    serveGrpc(socket, this.#methods);
  }

  #info(): Uint8Array {
    const version = { package: "lading", version: `v${this.#version}` };
    return messages.infoResponse.encode({
      buildkitVersion: messages.buildkitVersion.encode(version),
    });
  }

  #workers(): Uint8Array {
    const { architecture, os, variant = "" } = hostPlatform();
    const platforms = [messages.platform.encode({ architecture, os, variant })];
    const record = messages.workerRecord.encode({ id: "lading", platforms });
    return messages.listWorkersResponse.encode({ record: [record] });
  }

  #usage(): Uint8Array {
    const record = this.#builder.cache().map((each) =>
      messages.usageRecord.encode({
        id: each.id,
        inUse: each.inUse,
        size: each.sizeBytes,
        description: each.description,
        createdAt: messages.timestamp(each.lastUsedMs),
        lastUsedAt: messages.timestamp(each.lastUsedMs),
        recordType: "regular",
      }),
    );
    return messages.diskUsageResponse.encode({ record });
  }

  async #prune(call: Call): Promise<void> {
    const { value } = await call.messages.next();
    const { all, keepBytes } = messages.pruneRequest.decode(value ?? new Uint8Array());
    const { ids, reclaimedBytes } = await this.#builder.prune({ all, keepBytes });
    for (const [at, id] of ids.entries()) {
      await call.write(messages.usageRecord.encode({ id, size: at === 0 ? reclaimedBytes : 0 }));
    }
  }

  /**
   * Builds for a client that speaks BuildKit's protocol on its session alone, and hears of the build
   * otherwise: `tell` gets each status message. @throws Failure
   */
  async build(asked: Asked, tell: (status: Uint8Array) => void): Promise<Produced> {
    const build = await this.#open(asked, asked.signal);
    const told = (async () => {
      for await (const message of build.progress.read(asked.signal)) tell(message);
    })();
    try {
      return await this.#finish(build, asked.ref, () =>
        this.#build(build, asked.attributes, asked.contextPath),
      );
    } finally {
      await told;
    }
  }

  async #solve(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const asked = messages.solveRequest.decode(request);
    const build = await this.#open({ ...asked, exporters: exportersOf(asked) }, call.signal);
    const { frontend, frontendAttributes } = asked;
    await this.#finish(build, asked.ref, async () => {
      if (frontend !== "") await this.#build(build, frontendAttributes);
      else await build.returned.promise;
    });
    const told = Object.entries(build.produced?.metadata ?? {}).map(
      ([key, value]): [string, string] => {
        // What is no text is told as JSON in base64, as BuildKit does.
        if (typeof value === "string") return [key, value];
        return [key, Buffer.from(JSON.stringify(value)).toString("base64")];
      },
    );
    const answer = new Map(told);
    return messages.solveResponse.encode({ exporterResponse: answer });
  }

  async #finish<T>(build: Build, ref: string, work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      build.progress.end();
      return result;
    } catch (error) {
      build.progress.end(toFailure(error).message);
      throw error;
    } finally {
      // Readers of the status keep what they read; others come too late.
      this.#builds.delete(ref);
    }
  }

  async #open(
    { ref, session, exporters, entitlements }: Opening,
    signal: AbortSignal,
  ): Promise<Build> {
    if (!/^[\w.-]{1,128}$/.test(ref) || this.#builds.has(ref)) {
      throw new Failure("invalid", "Cannot build: its reference is none, or in use");
    }
    if (this.#builds.size >= buildsMax) {
      throw new Failure("exhausted", `Cannot build: ${buildsMax} builds are going on`);
    }
    const build: Build = {
      session: await this.sessions.find(session),
      progress: new Progress(ref),
      exporters,
      allow: entitlements,
      signal,
      produced: undefined,
      returned: Promise.withResolvers(),
    };
    const cancelled = () => build.returned.reject(new Failure("unavailable", "context canceled"));
    if (signal.aborted) cancelled();
    signal.addEventListener("abort", cancelled);
    build.returned.promise.catch(() => {}); // #solve tells it
    this.#builds.set(ref, build);
    for (const arrived of [...this.#arrivals]) arrived();
    return build;
  }

  async #build(
    build: Build,
    attributes: ReadonlyMap<string, string>,
    contextPath?: string,
  ): Promise<Produced> {
    const sent = contextPath === undefined ? {} : { contextPath };
    build.produced = await solve({ ...build, builder: this.#builder, attributes, ...sent });
    return build.produced;
  }

  /** The build of a call: `Status` names it, the gateway's calls have it in their metadata. */
  async #find(ref: string): Promise<Build> {
    const deadline = Date.now() + arrivalMsMax;
    for (;;) {
      const build = this.#builds.get(ref);
      if (build) return build;
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Failure("not_found", `no such build: ${ref.slice(0, 128)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(arrived, leftMs);
        const arrivals = this.#arrivals;
        function arrived(): void {
          clearTimeout(timer);
          arrivals.delete(arrived);
          resolve();
        }
        arrivals.add(arrived);
      });
    }
  }

  async #status(call: Call): Promise<void> {
    const { value } = await call.messages.next();
    const { ref } = messages.statusRequest.decode(value ?? new Uint8Array());
    const { progress } = await this.#find(ref);
    for await (const message of progress.read(call.signal)) await call.write(message);
  }

  async #frontend(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const build = await this.#find(refOf(call));
    const { frontend, options, definition } = messages.gatewaySolveRequest.decode(request);
    if (definition.length > 0 || !isDockerfile(frontend, options)) {
      throw new Failure("unsupported", `Cannot run the frontend "${frontend.slice(0, 100)}"`, {
        hint: "Lading builds Dockerfiles, by a language that is built in",
      });
    }
    const subject = options.get("requestid") ?? "";
    if (subject !== "") {
      const asked = { ...build, builder: this.#builder, attributes: options };
      const json = Buffer.from(JSON.stringify(await answer(asked, subject)));
      const metadata = new Map([
        ["result.json", json],
        ["version", Buffer.from("1.0.0")],
      ]);
      const result = messages.gatewayResult.encode({ metadata });
      return messages.gatewaySolveResponse.encode({ result });
    }
    await this.#build(build, options);
    const ref = messages.gatewayRef.encode({ id: build.produced?.id ?? "" });
    const result = messages.gatewayResult.encode({ ref });
    return messages.gatewaySolveResponse.encode({ result });
  }

  async #returned(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const build = await this.#find(refOf(call));
    const { error } = messages.returnRequest.decode(request);
    if (error.length === 0) build.returned.resolve();
    else {
      const { message } = messages.rpcStatus.decode(error);
      build.returned.reject(new Failure("invalid", message || "the build was given up"));
    }
    return messages.empty.encode({});
  }
}

function refOf({ metadata }: Call): string {
  return String(metadata["buildkit-controlapi-buildid"] ?? "");
}

/** `gateway.v0` runs a frontend's image; that of the Dockerfile language is built in. */
function isDockerfile(frontend: string, options: ReadonlyMap<string, string>): boolean {
  if (frontend === "dockerfile.v0") return true;
  return (
    frontend === "gateway.v0" &&
    /^(docker\.io\/)?docker\/dockerfile\b/.test(options.get("source") ?? "")
  );
}

/** Older clients name one exporter, newer ones a list of them. */
function exportersOf(asked: ReturnType<typeof messages.solveRequest.decode>): readonly Exporter[] {
  const listed = asked.exporters.map((bytes) => messages.exporter.decode(bytes));
  const old = { type: asked.exporter, attributes: asked.exporterAttributes };
  return listed.length > 0 ? listed : asked.exporter === "" ? [] : [old];
}

/** What the gateway can, by the names that clients ask for. */
function ping(): Uint8Array {
  const ids = ["solve.base", "return", "returnmap", "proto.refarray"];
  const frontendCapabilities = ids.map((id) => messages.capability.encode({ id, enabled: true }));
  return messages.pong.encode({ frontendCapabilities });
}
