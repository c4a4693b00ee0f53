/**
 * The gateway of BuildKit's protocol: what clients ask for within a build. The Dockerfile frontend is our
 * builder; sources elsewhere can be looked into before.
 */
import { Failure } from "../base/mod.ts";
import { type Builder, type NamedContext, readInside } from "../build/mod.ts";
import { digestOf } from "../oci/mod.ts";
import type { Build, Builds } from "./builds.ts";
import { fetchAddress } from "./fetch.ts";
import { sourceOf } from "./graph.ts";
import { type Call, unary } from "./grpc.ts";
import * as messages from "./messages.ts";
import { goMode } from "./sent-stat.ts";
import { answer, solve } from "./solve.ts";

/** Places elsewhere that the client looks into. */
const fetchedMax = 16;
const fileBytesMax = 4 << 20;
/** How a build's result is named in a graph of another's, on the same engine. */
const resultPrefix = "https://result.lading.invalid/";

export class Gateway {
  readonly #builder: Builder;
  readonly #builds: Builds;

  constructor(builder: Builder, builds: Builds) {
    this.#builder = builder;
    this.#builds = builds;
  }

  methods(): [string, (call: Call) => Promise<void>][] {
    const bridge = "/moby.buildkit.v1.frontend.LLBBridge";
    return [
      [`${bridge}/Ping`, unary(() => ping())],
      [`${bridge}/Solve`, unary((request, call) => this.#frontend(request, call))],
      [`${bridge}/ReadFile`, unary((request, call) => this.#readFile(request, call))],
      [`${bridge}/StatFile`, unary((request, call) => this.#statFile(request, call))],
      [`${bridge}/Return`, unary((request, call) => this.#returned(request, call))],
    ];
  }

  async #frontend(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const build = await this.#builds.find(refOf(call));
    const { frontend, options, definition, inputs } = messages.gatewaySolveRequest.decode(request);
    if (definition.length > 0) return await this.#source(build, definition);
    if (!isDockerfile(frontend, options)) {
      throw new Failure("unsupported", `Cannot run the frontend "${frontend.slice(0, 100)}"`, {
        hint: "Lading builds Dockerfiles, by a language that is built in",
      });
    }
    const given = this.#inputs(options, inputs);
    const subject = options.get("requestid") ?? "";
    if (subject !== "") {
      const asked = { ...build, ...given, builder: this.#builder };
      const json = Buffer.from(JSON.stringify(await answer(asked, subject)));
      const metadata = new Map([
        ["result.json", json],
        ["version", Buffer.from("1.0.0")],
      ]);
      const result = messages.gatewayResult.encode({ metadata });
      return messages.gatewaySolveResponse.encode({ result });
    }
    build.produced = await solve({ ...build, ...given, builder: this.#builder });
    return refTo(build.produced?.id ?? "", `${resultPrefix}${refOf(call)}`);
  }

  /** Fetches what a client wants to look into before it builds: a Dockerfile or a bake file elsewhere. */
  async #source(build: Build, definition: Uint8Array): Promise<Uint8Array> {
    const address = sourceOf(definition);
    if (build.fetched.size >= fetchedMax) {
      throw new Failure("exhausted", `Cannot fetch more than ${fetchedMax} sources for a build`);
    }
    const asked = { ...build, builder: this.#builder };
    const id = `source ${build.fetched.size}`;
    build.fetched.set(id, await fetchAddress(asked, address, { buildArgs: {} }));
    return refTo(id, address);
  }

  /** The attributes with the graphs that clients give beside them put into words. */
  #inputs(attributes: ReadonlyMap<string, string>, graphs: ReadonlyMap<string, Uint8Array>) {
    const inputs = new Map<string, NamedContext>();
    const addresses: [string, string][] = [];
    for (const [name, definition] of graphs) {
      const address = sourceOf(definition);
      if (name === "context") addresses.push([name, address]);
      else if (name !== "dockerfile") inputs.set(name, this.#input(address));
    }
    return { attributes: new Map([...attributes, ...addresses]), inputs };
  }

  #input(address: string): NamedContext {
    if (!address.startsWith(resultPrefix)) return { kind: "address", address };
    const other = this.#builds.get(address.slice(resultPrefix.length));
    if (other?.produced) return { kind: "result", images: other.produced.configs };
    throw new Failure("not_found", "Cannot build on the result of another build: it has gone");
  }

  async #readFile(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const { ref, path, range } = messages.readFileRequest.decode(request);
    const data = await this.#fileIn(call, ref, path);
    const { offset, length } = messages.readFileRange.decode(range);
    const part = data.subarray(offset, length > 0 ? offset + length : undefined);
    return messages.readFileAnswer.encode({ data: part });
  }

  async #statFile(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const { ref, path } = messages.statFileRequest.decode(request);
    const { produced } = await this.#builds.find(refOf(call));
    if (produced?.id === ref && [".", "/"].includes(path)) {
      // So clients wait for a result.
      const stat = messages.fileStat.encode({ path, mode: goMode.directory + 0o755 });
      return messages.statFileAnswer.encode({ stat });
    }
    const { length: size } = await this.#fileIn(call, ref, path);
    return messages.statFileAnswer.encode({
      stat: messages.fileStat.encode({ path, size, mode: 0o644 }),
    });
  }

  async #fileIn(call: Call, ref: string, path: string): Promise<Buffer> {
    const taken = (await this.#builds.find(refOf(call))).fetched.get(ref);
    if (!taken) throw new Failure("not_found", "Cannot read of a result: it is no source");
    // A file alone has whatever name the client gave it.
    const text =
      "dockerfile" in taken && taken.dockerfile
        ? taken.dockerfile.text
        : readInside(taken.path, path.replace(/^\/+/, ""), fileBytesMax);
    if (text !== undefined) return Buffer.from(text);
    throw new Failure("not_found", `open ${path.slice(0, 200)}: no such file or directory`);
  }

  async #returned(request: Uint8Array, call: Call): Promise<Uint8Array> {
    const build = await this.#builds.find(refOf(call));
    const { error } = messages.returnRequest.decode(request);
    if (error.length === 0) build.returned.resolve();
    else {
      const { message } = messages.rpcStatus.decode(error);
      build.returned.reject(new Failure("invalid", message || "the build was given up"));
    }
    return messages.empty.encode({});
  }
}

/** A result: its name, and how another build's graph names it. */
function refTo(id: string, identifier: string): Uint8Array {
  const source = messages.operationSource.encode({ identifier });
  const operation = messages.operation.encode({ source });
  const last = messages.operation.encode({
    inputs: [messages.operationInput.encode({ digest: digestOf(operation) })],
  });
  // Clients want a word about each operation, be it empty.
  const about = new Map([[digestOf(operation), new Uint8Array()]]);
  const definition = messages.graph.encode({ operations: [operation, last], about });
  const ref = messages.gatewayRef.encode({ id, definition });
  const result = messages.gatewayResult.encode({ ref });
  return messages.gatewaySolveResponse.encode({ result });
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

const gatewayCan =
  "solve.base return returnmap proto.refarray frontend.inputs readfile readfile.file statfile importcaches reference.output";
const exportersCan = "exporter.image.attestations exporter.image.annotations exporter.multiple";
const sourcesCan =
  "source.http source.http.checksum source.git source.git.fullurl source.git.keepgitdir source.git.httpauth " +
  "source.git.knownsshhosts source.git.mountsshsock constraints platform meta.description meta.ignorecache";

/** What the gateway and the builder can, by the names that clients ask for. */
function ping(): Uint8Array {
  const all = (ids: string) =>
    ids.split(" ").map((id) => messages.capability.encode({ id, enabled: true }));
  return messages.pong.encode({
    frontendCapabilities: all(gatewayCan),
    llbCapabilities: all(`${exportersCan} ${sourcesCan}`),
  });
}
