/** What BuildKit's clients ask for beyond an image: platforms, archives, statements, caches, sources. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Laboratory, type Offer } from "../src/buildkit/laboratory.ts";
import {
  diskUsageRequest,
  diskUsageResponse,
  graph,
  operation,
  operationSource,
  pruneRequest,
  usageRecord,
} from "../src/buildkit/messages.ts";
import { command, TestEngine, whyNot } from "./engine.ts";

const both = new Map([["platform", "linux/amd64,linux/arm64"]]);
const cross = `FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETARCH
RUN echo "for $TARGETARCH" > /app
FROM scratch
COPY --from=build /app /app
`;

/** Why it failed. Not by `rejects`, which waits in a way that stops what is on its way. */
async function messageOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "it did not fail",
    (error: Error) => error.message,
  );
}

describe.skipIf(whyNot !== undefined)(`results for BuildKit's clients`, () => {
  let engine: TestEngine;
  const open = (dockerfile: string, more: Partial<Offer> = {}) => {
    const files = new Map([["Dockerfile", dockerfile]]);
    const folders = new Map([
      ["context", files],
      ["dockerfile", files],
    ]);
    return Laboratory.open(engine.host.slice("unix://".length), { folders, ...more });
  };
  const listTar = async (tar: Uint8Array) => (await command(["tar", "-t"], { input: tar })).stdout;
  const inTar = async (tar: Uint8Array, path: string) =>
    (await command(["tar", "-xO", path], { input: tar })).stdout;

  beforeAll(async () => {
    engine = await TestEngine.open("bkres");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test("several platforms make an index, each with steps of its own", async () => {
    using laboratory = await open(cross);
    const made = await laboratory.build(both, "cross:1");
    expect(made.log).toContain('[linux/arm64 build 3/5] RUN echo "for $TARGETARCH" > /app');
    const descriptor = Buffer.from(made.told.get("containerimage.descriptor")!, "base64");
    expect(JSON.parse(descriptor.toString()).mediaType).toContain("index");
    // The ID is that of the image that runs here.
    expect(await engine.ok(["image", "inspect", "-f", "{{.Id}}", "cross:1"])).toBe(made.id);
    await laboratory.build(both, "", "tar");
    expect(await inTar(laboratory.received(), "linux_arm64/app")).toBe("for arm64\n");
  });

  test("several results of one build each go where they belong", async () => {
    const stores = new Map([["export", new Map()]]);
    using laboratory = await open(cross, { stores });
    const outputs = [
      ["tar", {}],
      // What is not known here has a meaning for others.
      ["moby", { name: "many:1", load: "true" }],
      ["oci", { name: "many:2" }],
      ["docker", { name: "many:3" }],
      ["oci", { tar: "false" }],
    ] as const;
    const { id, told } = await laboratory.build(new Map(), "", "", { outputs });
    expect(await inTar(laboratory.received("0"), "app")).toMatch(/^for /);
    expect(await engine.ok(["images", "-q", "--no-trunc", "many:1"])).toBe(id);
    expect(JSON.parse(await inTar(laboratory.received("2"), "index.json")).manifests).toHaveLength(
      1,
    );
    expect(await listTar(laboratory.received("3"))).toContain("manifest.json");
    const { digest } = JSON.parse(
      Buffer.from(told.get("containerimage.descriptor")!, "base64").toString(),
    );
    expect([...stores.get("export")!.keys()]).toContain(digest);
  });

  test("statements are made when they are asked for, and not when a client only adds them", async () => {
    using laboratory = await open(cross);
    const layout = async (attest: Record<string, string>) => {
      await laboratory.build(new Map(Object.entries(attest)), "", "oci");
      const { manifests } = JSON.parse(await inTar(laboratory.received(), "index.json"));
      return manifests[0].mediaType as string;
    };
    expect(await layout({ "attest:provenance": "mode=max", "attest:sbom": "" })).toContain("index");
    expect(await layout({ "attest:provenance": "mode=min,inline-only=true" })).not.toContain(
      "index",
    );
    const strange = laboratory.build(new Map([["attest:sbom", "generator=x"]]), "", "oci");
    expect(await messageOf(strange)).toContain('attestation sbom has no key "generator"');
  });

  test("a cache goes to the client's folder, and comes from there", async () => {
    const stores = new Map([["local:cache", new Map<string, Buffer>()]]);
    using laboratory = await open(
      "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\nRUN cat /id\n",
      { stores },
    );
    const cacheTo = [["local", { dest: "cache", mode: "max" }]] as const;
    const first = await laboratory.build(new Map(), "cached:1", "moby", { cacheTo });
    const { digest } = JSON.parse(first.told.get("cache.manifest")!) as { digest: string };
    expect(stores.get("local:cache")!.has(digest)).toBe(true);
    await engine.ok(["rmi", "cached:1"]);
    await engine.lading(["builder", "prune", "-af"]);
    const from = (attributes: object) =>
      new Map([["cache-imports", JSON.stringify([{ Type: "local", Attrs: attributes }])]]);
    const second = await laboratory.build(from({ src: "cache", digest }), "cached:2");
    expect([second.id, second.log.match(/CACHED/g)?.length]).toEqual([first.id, 3]);
    await engine.ok(["rmi", "cached:2"]);
    await engine.lading(["builder", "prune", "-af"]);
    // Bytes that were changed are told, and not taken.
    for (const [name, bytes] of stores.get("local:cache")!) {
      if (name !== digest) bytes[bytes.length - 1]! ^= 1;
    }
    const third = await laboratory.build(from({ src: "cache", digest }), "cached:3");
    expect(third.id).not.toBe(first.id);
    const strange = [["gha", {}]] as const;
    const refused = laboratory.build(new Map(), "no", "moby", { cacheTo: strange });
    expect(await messageOf(refused)).toContain('Cannot use a cache of type "gha"');
  });

  test("a cache of BuildKit's own is told, and the build goes on", async () => {
    const config = { mediaType: "application/vnd.buildkit.cacheconfig.v0", digest: "", size: 2 };
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [], config }));
    const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
    const stores = new Map([["local:theirs", new Map([[digest, bytes]])]]);
    using laboratory = await open("FROM busybox\nRUN echo on\n", { stores });
    const imports = JSON.stringify([{ Type: "local", Attrs: { src: "theirs", digest } }]);
    const { log, id } = await laboratory.build(new Map([["cache-imports", imports]]), "on:1");
    expect(id).toStartWith("sha256:");
    expect(log).toContain("a cache of BuildKit's own format");
  });

  test("a context comes from the client's stdin, a layout of the client's, an address", async () => {
    const dockerfile = "FROM given\nCOPY hostname /h\nRUN cat /h\n";
    const tarOf = async (files: Record<string, string>) => {
      const script = Object.entries(files).map(([name, text]) => `printf '${text}' > ${name}`);
      const folder = `${engine.folder}/up${Math.random()}`;
      const line = `mkdir ${folder}; cd ${folder}; ${script.join("; ")}; tar -c . | base64`;
      return Buffer.from((await command(["sh", "-c", line])).stdout, "base64");
    };
    const upload = await tarOf({
      Dockerfile: dockerfile.replaceAll("\n", "\\n"),
      hostname: "up\\n",
    });
    const uploads = new Map([["stdin", upload]]);
    // A layout is made as a result, and given as a context.
    const store = new Map<string, Buffer>();
    const stores = new Map([
      ["export", store],
      ["oci:given", store],
    ]);
    using laboratory = await open("FROM busybox\nRUN echo of the layout > /base\n", {
      uploads,
      stores,
      secrets: new Map([["s", "asked for"]]),
    });
    const outputs = [["oci", { tar: "false" }]] as const;
    const { told } = await laboratory.build(new Map(), "", "", { outputs });
    const { digest } = JSON.parse(
      Buffer.from(told.get("containerimage.descriptor")!, "base64").toString(),
    );
    const options = new Map([
      ["context", "http://buildkit-session/stdin"],
      ["context:given", `oci-layout://given:latest@${digest}`],
    ]);
    const { log } = await laboratory.build(options, "up:1");
    expect(log).toContain("up\n");
    expect(await engine.ok(["run", "--rm", "up:1", "cat", "/base"])).toBe("of the layout");

    const secret = "FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s\n";
    const context = await tarOf({ Dockerfile: secret.replaceAll("\n", "\\n") });
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(context),
    });
    try {
      const remote = new Map([["context", `http://127.0.0.1:${server.port}/c.tar`]]);
      // The Dockerfile is known only when it has come, and names a secret.
      expect((await laboratory.build(remote, "remote:1")).log).toContain("asked for");
      // Its own Dockerfile may come from the client all the same.
      remote.set("dockerfilekey", "dockerfile");
      expect((await laboratory.build(remote, "remote:2")).log).toContain("of the layout");
    } finally {
      await server.stop(true);
    }
  });

  test("a client looks into a file elsewhere, and builds on what another build made", async () => {
    using laboratory = await open("FROM base\nRUN cat /base\n");
    const serve = { port: 0, hostname: "127.0.0.1", fetch: () => new Response("group x {}\n") };
    const server = Bun.serve(serve);
    const source = (identifier: string) =>
      graph.encode({
        operations: [operation.encode({ source: operationSource.encode({ identifier }) })],
      });
    try {
      const address = `http://127.0.0.1:${server.port}/docker-bake.hcl`;
      expect(await laboratory.look(source(address), "any")).toBe("group x {}\n");
    } finally {
      await server.stop(true);
    }
    expect(await messageOf(laboratory.look(source("local://here"), "x"))).toContain("Cannot fetch");
    const works = operation.encode({ works: Buffer.from([8, 1]) });
    const other = graph.encode({ operations: [works] });
    expect(await messageOf(laboratory.look(other, "x"))).toContain(
      "Cannot build a low-level graph",
    );

    using base = await open("FROM busybox\nRUN echo of the other > /base\n");
    let log = "";
    let left: Uint8Array = new Uint8Array();
    const before = async (definition: Uint8Array) => {
      left = definition;
      const inputs = new Map([["base::linux/amd64", definition]]);
      const options = new Map([["context:base", "input:base::linux/amd64"]]);
      log = (await laboratory.build(options, "linked:1", "moby", { inputs })).log;
    };
    await base.build(new Map(), "", "", { outputs: [], before });
    expect(log).toContain("of the other\n");
    expect(await engine.ok(["images", "-q"])).not.toContain("none");
    const options = new Map([["context:base", "input:b"]]);
    const late = laboratory.build(options, "no", "moby", { inputs: new Map([["b", left]]) });
    expect(await messageOf(late)).toContain("result of another build: it has gone");
  });

  test("a source policy of the client's holds", async () => {
    using laboratory = await open("FROM busybox\n");
    const policy = [[1, "docker-image://docker.io/library/busybox*"]] as const;
    const denied = laboratory.build(new Map(), "no", "moby", { policy });
    expect(await messageOf(denied)).toContain("denied by policy");
  });

  test("the cache is listed and pruned by filters, and by none that is not known", async () => {
    using laboratory = await open(
      "FROM busybox\nRUN --mount=type=cache,target=/c,id=kept echo 1 > /c/f\nRUN echo layer > /l\n",
    );
    await laboratory.build(new Map(), "", "", { outputs: [] });
    const control = "/moby.buildkit.v1.Control";
    const list = async (...filter: string[]) => {
      const asked = diskUsageRequest.encode({ filter });
      const bytes = await laboratory.control.ask(`${control}/DiskUsage`, asked);
      return diskUsageResponse.decode(bytes).record.map((each) => usageRecord.decode(each));
    };
    const prune = async (asked: Parameters<typeof pruneRequest.encode>[0]) => {
      const call = laboratory.control.open(`${control}/Prune`);
      await call.write(pruneRequest.encode(asked));
      call.end();
      const rows = await Array.fromAsync(call.messages);
      return rows.map((bytes) => usageRecord.decode(bytes));
    };
    const [folder, ...none] = await list("type==exec.cachemount,description~=kept");
    expect([folder?.recordType, none]).toEqual(["exec.cachemount", []]);
    const layers = await list("type==regular", "id==none");
    expect([...(await list("inuse")), ...(await list("inuse==0"))]).toHaveLength(
      (await list("")).length,
    );
    expect(layers.length).toBeGreaterThan(0);
    expect(await messageOf(prune({ filter: ["size>1"], all: true }))).toContain("invalid filter");
    const hour = 3_600e9;
    expect(await prune({ keepDuration: hour, all: true })).toEqual([]);
    const gone = await prune({ filter: ["type==exec.cachemount"], all: true });
    expect(gone.map(({ id }) => id)).toEqual([folder!.id]);
    expect(await list("type==exec.cachemount")).toEqual([]);
    expect(await list("type==regular")).toHaveLength(layers.length);
  });
});
