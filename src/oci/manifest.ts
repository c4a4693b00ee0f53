import { Failure, limits } from "../base/mod.ts";
import { JsonReader, readFields } from "./json.ts";
import { isIndexType, isManifestType, mediaTypes } from "./media-types.ts";
import type { Descriptor, Index, Manifest, Platform } from "./types.ts";

const manifestsMax = 10_000;

/** Reads a manifest or an index, whichever it is. @throws Failure "corrupt" | "unsupported" (schema 1) */
export function parseManifestOrIndex(
  bytes: Uint8Array,
): { readonly manifest: Manifest } | { readonly index: Index } {
  const reader = open(bytes, "manifest");
  const mediaType = reader.field("mediaType");
  const isIndex = mediaType.isAbsent ? reader.has("manifests") : isIndexType(mediaType.text());
  return isIndex ? { index: parseIndex(bytes) } : { manifest: parseManifest(bytes) };
}

/** Reads an OCI image manifest or Docker's schema 2. @throws Failure "corrupt" | "unsupported" (schema 1) */
export function parseManifest(bytes: Uint8Array): Manifest {
  const reader = open(bytes, "manifest");
  const mediaType = reader.field("mediaType");
  if (!mediaType.isAbsent && !isManifestType(mediaType.text())) {
    throw reader.fail(`its media type is "${mediaType.text().slice(0, 100)}"`);
  }
  // An index in a manifest's place, or both in one: CVE-2021-41190.
  if (reader.has("manifests")) throw reader.fail("it has manifests, as only an index has");
  return {
    schemaVersion: 2,
    ...readFields(reader, {
      mediaType: (field) => field.text(),
      artifactType: (field) => field.text(),
      subject: readDescriptor,
      annotations: (field) => field.textMap(),
    }),
    config: readDescriptor(reader.field("config")),
    layers: reader.field("layers").items(limits.layersMax).map(readDescriptor),
  };
}

/** Reads an OCI index or Docker's manifest list. @throws Failure "corrupt" | "unsupported" (schema 1) */
export function parseIndex(bytes: Uint8Array): Index {
  const reader = open(bytes, "index");
  const mediaType = reader.field("mediaType");
  if (!mediaType.isAbsent && !isIndexType(mediaType.text())) {
    throw reader.fail(`its media type is "${mediaType.text().slice(0, 100)}"`);
  }
  if (reader.has("layers") || reader.has("config")) {
    throw reader.fail("it has layers or a config, as only a manifest has");
  }
  return {
    schemaVersion: 2,
    ...readFields(reader, {
      mediaType: (field) => field.text(),
      artifactType: (field) => field.text(),
      subject: readDescriptor,
      annotations: (field) => field.textMap(),
    }),
    manifests: reader.field("manifests").items(manifestsMax).map(readDescriptor),
  };
}

function open(bytes: Uint8Array, where: string): JsonReader {
  if (bytes.length > limits.manifestBytesMax) {
    const bound = `the bound is ${limits.manifestBytesMax}`;
    throw new Failure(
      "exhausted",
      `Cannot read the ${where}: it has ${bytes.length} bytes, ${bound}`,
    );
  }
  const reader = JsonReader.parse(bytes, where);
  const version = reader.field("schemaVersion");
  const isOld = !version.isAbsent && version.integer() === 1;
  if (isOld || reader.has("fsLayers")) {
    throw new Failure("unsupported", `Cannot use the ${where}: it is of Docker's schema 1`, {
      hint: "Build or push the image again with a current tool: schema 1 ended in 2017",
    });
  }
  if (version.isAbsent || version.integer() !== 2) throw reader.fail("its schemaVersion is not 2");
  return reader;
}

/** A descriptor at any place. @throws Failure "corrupt" */
export function readDescriptor(reader: JsonReader): Descriptor {
  const size = reader.field("size").integer();
  if (size < 0) throw reader.fail("its size is negative");
  return {
    mediaType: reader.field("mediaType").text(),
    digest: reader.field("digest").digest(),
    size,
    ...readFields(reader, {
      urls: (field) => field.texts(),
      annotations: (field) => field.textMap(),
      data: (field) => field.text(),
      artifactType: (field) => field.text(),
      platform: readPlatformFields,
    }),
  };
}

/** `{ architecture, os, variant… }`; both names are there, maybe empty. */
export function readPlatformFields(reader: JsonReader): Platform {
  const text = (name: string) => {
    const field = reader.field(name);
    return field.isAbsent ? "" : field.text();
  };
  return {
    architecture: text("architecture"),
    os: text("os"),
    ...readFields(reader, {
      variant: (field) => field.text(),
      "os.version": (field) => field.text(),
      "os.features": (field) => field.texts(),
    }),
  };
}

/** True for what a builder attaches to an image (provenance, SBOM): it cannot be run. */
export function isAttestation({ annotations, platform }: Descriptor): boolean {
  const isUnknown = platform?.os === "unknown" && platform.architecture === "unknown";
  return isUnknown || annotations?.["vnd.docker.reference.type"] === "attestation-manifest";
}

/** A manifest as canonical bytes: the same image gives the same bytes, always. */
export function formatManifest(config: Descriptor, layers: readonly Descriptor[]): Uint8Array {
  const plain = ({ mediaType, digest, size }: Descriptor) => ({ mediaType, digest, size });
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: plain(config),
    layers: layers.map(plain),
  };
  return Buffer.from(JSON.stringify(manifest));
}
