/** Statements about an image that go along with it: how it was made, and what is in it. */
import { Failure } from "../base/mod.ts";
import { digestOf, formatPlatform, hexOf, hostPlatform } from "../oci/mod.ts";
import type { Context } from "./context.ts";
import type { Attestation } from "./image-tree.ts";
import { truth } from "./output.ts";
import type { Package } from "./packages.ts";
import type { Built } from "./result.ts";
import type { BuildRequest } from "./types.ts";

/** What `--attest` asks for. */
export interface Attest {
  readonly provenance?: {
    readonly mode: "min" | "max";
    readonly version: "v1" | "v0.2";
    readonly builderId: string;
    readonly reproducible: boolean;
  };
  readonly sbom?: boolean;
}

/** Reads `type=provenance,mode=max` and `type=sbom`, each as its keys. @throws Failure "invalid" */
export function parseAttests(all: readonly Readonly<Record<string, string>>[]): Attest {
  let attest: Attest = {};
  for (const given of all) {
    const { type = "" } = given;
    const isOff = truth(given, "disabled") === true;
    if (type === "provenance") {
      const { provenance: _, ...rest } = attest;
      attest = isOff ? rest : { ...rest, provenance: provenanceOf(given) };
    } else if (type === "sbom") {
      refuseKeys(given, ["type", "disabled"], "sbom");
      attest = { ...attest, sbom: !isOff };
    } else {
      throw new Failure("invalid", `unknown attestation type ${JSON.stringify(type)}`, {
        hint: "Types are provenance and sbom",
      });
    }
  }
  return attest;
}

const provenanceKeys = ["type", "disabled", "mode", "version", "builder-id", "reproducible"];

function provenanceOf(given: Readonly<Record<string, string>>): NonNullable<Attest["provenance"]> {
  refuseKeys(given, provenanceKeys, "provenance");
  const { mode = "min", version = "v1" } = given;
  if (mode !== "min" && mode !== "max") {
    throw new Failure("invalid", `invalid provenance mode ${JSON.stringify(mode)}`, {
      hint: "It is min or max",
    });
  }
  if (version !== "v1" && version !== "v0.2") {
    throw new Failure("invalid", `invalid provenance version ${JSON.stringify(version)}`, {
      hint: "It is v1 or v0.2",
    });
  }
  const builderId = given["builder-id"] ?? "";
  return { mode, version, builderId, reproducible: truth(given, "reproducible") ?? false };
}

function refuseKeys(given: object, known: readonly string[], type: string): void {
  const strange = Object.keys(given).find((key) => !known.includes(key));
  if (strange === undefined) return;
  const hint =
    strange === "generator"
      ? "The software list is made by the builder itself: leave generator out"
      : `Known are ${known.slice(1).join(", ")}`;
  throw new Failure("invalid", `attestation ${type} has no key ${JSON.stringify(strange)}`, {
    hint,
  });
}

const statementType = "https://in-toto.io/Statement/v0.1";

/** An attestation whose predicate is known before the image's digest is. */
function attestation(predicateType: string, predicate: object, built: Built): Attestation {
  return {
    predicateType,
    statement: ({ name, digest }) => {
      const platform = encodeURIComponent(formatPlatform(built.platform));
      const url = name === "" ? "_" : `pkg:docker/${name}?platform=${platform}`;
      const subject = [{ name: url, digest: { sha256: hexOf(digest) } }];
      const statement = { _type: statementType, predicateType, subject, predicate };
      return Buffer.from(JSON.stringify(statement));
    },
  };
}

/** How the image was made. It holds no time: the same build gives the same bytes. https://slsa.dev */
export function provenance(
  built: Built,
  asked: NonNullable<Attest["provenance"]>,
  { request, context }: { request: BuildRequest; context: Context },
): Attestation {
  const isMax = asked.mode === "max";
  const { name: path } = context.dockerfile.source;
  const args = argsOf(request, isMax);
  const parameters = {
    frontend: "dockerfile.v0",
    args,
    locals: [{ name: "context" }, { name: "dockerfile" }],
  };
  const platform = formatPlatform(hostPlatform());
  const source = {
    locations: locationsOf(built),
    infos: [
      {
        filename: path,
        language: "Dockerfile",
        data: Buffer.from(context.dockerfile.source.lines.join("\n")).toString("base64"),
      },
    ],
  };
  const metadata = {
    ...(isMax ? { source } : {}),
    ...(request.commitSeconds === undefined ? {} : { vcs: { committed: request.commitSeconds } }),
  };
  if (asked.version === "v0.2") {
    const predicate = {
      builder: { id: asked.builderId },
      buildType: "https://mobyproject.org/buildkit@v1",
      materials: built.materials,
      invocation: {
        configSource: { entryPoint: path },
        parameters,
        environment: { platform },
      },
      ...(isMax ? { buildConfig: { steps: stepsOf(built) } } : {}),
      metadata: {
        completeness: { parameters: isMax, environment: true, materials: false },
        reproducible: asked.reproducible,
        "https://mobyproject.org/buildkit@v1#metadata": metadata,
      },
    };
    return attestation("https://slsa.dev/provenance/v0.2", predicate, built);
  }
  const type = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
  const predicate = {
    buildDefinition: {
      buildType: type,
      externalParameters: { configSource: { path }, request: parameters },
      internalParameters: {
        builderPlatform: platform,
        ...(isMax ? { buildConfig: { steps: stepsOf(built) } } : {}),
      },
      resolvedDependencies: built.materials,
    },
    runDetails: {
      builder: { id: asked.builderId },
      metadata: {
        buildkit_completeness: { request: isMax, resolvedDependencies: false },
        buildkit_reproducible: asked.reproducible,
        buildkit_metadata: metadata,
      },
    },
  };
  return attestation("https://slsa.dev/provenance/v1", predicate, built);
}

/** Values of build arguments and labels are told with mode=max alone; secrets never. */
function argsOf(request: BuildRequest, isMax: boolean): Record<string, string> {
  const { buildArgs, labels, target, noCache } = request;
  const pairs = (prefix: string, values: Readonly<Record<string, string | null>>) =>
    Object.entries(values).flatMap(([name, value]) =>
      value === null ? [] : [[`${prefix}:${name}`, value] as const],
    );
  return Object.fromEntries(
    [
      ...(isMax ? [...pairs("build-arg", buildArgs), ...pairs("label", labels)] : []),
      ...(target === "" ? [] : [["target", target] as const]),
      ...(noCache ? [["no-cache", ""] as const] : []),
    ].sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function placesOf({ stages }: Built) {
  return stages.flatMap(({ layers, made }) =>
    [...made].map(([at, place]) => ({ ...place, layer: layers[at] })),
  );
}

const stepsOf = (built: Built) =>
  placesOf(built).map(({ file, line, text, layer }) => ({ file, line, text, layer }));

const locationsOf = (built: Built) =>
  Object.fromEntries(
    placesOf(built).map(({ line, layer }) => [
      layer,
      { locations: [{ ranges: [{ start: { line }, end: { line } }] }] },
    ]),
  );

/**
 * What is in the image, as SPDX 2.3; with a name, what is in that stage or in the context.
 * https://spdx.github.io/spdx-spec/v2.3/
 */
export function softwareList(
  built: Built,
  packages: readonly Package[],
  name?: string,
): Attestation {
  const suffix = name === undefined ? "" : `-${name}`;
  const created = `${(built.config.created ?? "1980-01-01T00:00:00").slice(0, 19)}Z`;
  const rootId = "SPDXRef-DocumentRoot";
  const found = packages.map((each) => ({
    name: each.name,
    SPDXID: `SPDXRef-Package-${hexOf(digestOf(each.purl)).slice(0, 16)}`,
    versionInfo: each.version,
    supplier: "NOASSERTION",
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    sourceInfo: `from /${each.source}`,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: licenseOf(each.license),
    copyrightText: "NOASSERTION",
    externalRefs: [
      {
        referenceCategory: "PACKAGE-MANAGER",
        referenceType: "purl",
        referenceLocator: each.purl,
      },
    ],
  }));
  const root = {
    name: name ?? "image",
    SPDXID: rootId,
    ...(name === undefined ? { versionInfo: built.id } : {}),
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    primaryPackagePurpose: name === undefined ? "CONTAINER" : "SOURCE",
  };
  const relationships = [
    {
      spdxElementId: "SPDXRef-DOCUMENT",
      relationshipType: "DESCRIBES",
      relatedSpdxElement: rootId,
    },
    ...found.map(({ SPDXID }) => ({
      spdxElementId: rootId,
      relationshipType: "CONTAINS",
      relatedSpdxElement: SPDXID,
    })),
  ];
  const predicate = {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `sbom${suffix}`,
    documentNamespace: `https://spdx.org/spdxdocs/lading-${hexOf(built.id)}${suffix}`,
    creationInfo: { creators: ["Tool: lading"], created },
    packages: [root, ...found],
    relationships,
  };
  return attestation("https://spdx.dev/Document", predicate, built);
}

/** A declared license that is no expression of SPDX's is none that a reader could use. */
function licenseOf(text: string): string {
  return /^[A-Za-z0-9.+()-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+()-]+)*$/.test(text)
    ? text
    : "NOASSERTION";
}
