/**
 * BuildKit's control API, for clients that build with it (buildx, Compose): what they ask of the Dockerfile
 * frontend goes to our builder. The low-level graph (LLB) is not taken, but for single sources.
 */
import type { Socket } from "node:net";
import { toFailure } from "../base/mod.ts";
import type { Builder, Produced } from "../build/mod.ts";
import { hostPlatform } from "../oci/mod.ts";
import { type Build, Builds, openingOf } from "./builds.ts";
import { Gateway } from "./gateway.ts";
import { type Call, type Methods, serveGrpc, unary } from "./grpc.ts";
import * as messages from "./messages.ts";
import { Sessions } from "./session.ts";
import { type Exporter, solve } from "./solve.ts";
import { listUsage, prune } from "./usage.ts";

/** A build without `Control.Solve`. */
export interface Asked {
  /** The client's name for it. */
  readonly ref: string;
  readonly session: string;
  readonly exporters: readonly Exporter[];
  readonly entitlements: readonly string[];
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
  readonly #builds = new Builds();
  readonly #methods: Methods;

  constructor({ builder, version }: ControlOptions) {
    this.#builder = builder;
    this.#version = version;
    const control = "/moby.buildkit.v1.Control";
    this.#methods = new Map([
      ["/grpc.health.v1.Health/Check", unary(() => messages.healthResponse.encode({ status: 1 }))],
      [`${control}/Info`, unary(() => this.#info())],
      [`${control}/ListWorkers`, unary(() => this.#workers())],
      [`${control}/DiskUsage`, unary((request) => listUsage(builder, request))],
      [`${control}/Prune`, (call) => prune(builder, call)],
      [`${control}/Solve`, unary((request, call) => this.#solve(request, call))],
      [`${control}/Status`, (call) => this.#status(call)],
      // What was built before is told by `lading build history`.
      [`${control}/ListenBuildHistory`, async () => {}],
      ...new Gateway(builder, this.#builds).methods(),
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
    // By this label clients know that several platforms, archives, statements and caches are made here.
    const labels = new Map([["org.mobyproject.buildkit.worker.snapshotter", "overlayfs"]]);
    const record = messages.workerRecord.encode({ id: "lading", labels, platforms });
    return messages.listWorkersResponse.encode({ record: [record] });
  }

  /**
   * Builds for a client that speaks BuildKit's protocol on its session alone, and hears of the build
   * otherwise: `tell` gets each status message. @throws Failure
   */
  async build(asked: Asked, tell: (status: Uint8Array) => void): Promise<Produced> {
    const session = await this.sessions.find(asked.session);
    const { entitlements: allow, ...given } = { ...asked, session, caches: [], sourcePolicy: [] };
    const build = this.#builds.open({ ...given, allow });
    const told = (async () => {
      for await (const message of build.progress.read(asked.signal)) tell(message);
    })();
    try {
      const { attributes, contextPath } = asked;
      const sent = contextPath === undefined ? {} : { contextPath };
      return await this.#finish(build, asked.ref, () =>
        solve({ ...build, ...sent, builder: this.#builder, attributes, inputs: new Map() }),
      );
    } finally {
      await told;
    }
  }

  async #solve(request: Uint8Array, { signal }: Call): Promise<Uint8Array> {
    const asked = messages.solveRequest.decode(request);
    const session = await this.sessions.find(asked.session);
    const build = this.#builds.open({ ...openingOf(asked), session, signal });
    await this.#finish(build, asked.ref, async () => {
      if (asked.frontend === "") return await build.returned.promise;
      const given = { attributes: asked.frontendAttributes, inputs: new Map() };
      build.produced = await solve({ ...build, ...given, builder: this.#builder });
    });
    const told = Object.entries(build.produced?.metadata ?? {}).map(
      ([key, value]): [string, string] => {
        // What is no text is told as JSON in base64, as BuildKit does.
        if (typeof value === "string") return [key, value];
        return [key, Buffer.from(JSON.stringify(value)).toString("base64")];
      },
    );
    const answer = new Map([...told, ...(build.produced?.told ?? [])]);
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
      await this.#builds.close(ref);
    }
  }

  async #status(call: Call): Promise<void> {
    const { value } = await call.messages.next();
    const { ref } = messages.statusRequest.decode(value ?? new Uint8Array());
    const { progress } = await this.#builds.find(ref);
    for await (const message of progress.read(call.signal)) await call.write(message);
  }
}
