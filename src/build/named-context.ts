/**
 * Places that a Dockerfile knows by names of the client's: `--build-context name=…`. A name goes before
 * stages and images of the same name.
 * Reference: https://docs.docker.com/reference/cli/docker/buildx/build/#build-context
 */
import { Failure } from "../base/mod.ts";
import { familiarReference, type ImageConfig, parseReference } from "../oci/mod.ts";
import { isUrl } from "./download.ts";
import { isGit } from "./git-address.ts";
import { nearest } from "./source.ts";

/** Where the files or the image behind a name are. */
export type NamedContext =
  /** A folder that is the build's alone. */
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "image"; readonly reference: string }
  /** An OCI layout in a folder that is the build's alone; `version` is a tag, `sha256:…` or "". */
  | { readonly kind: "layout"; readonly path: string; readonly version: string }
  /** A git repository, an archive or a file. */
  | { readonly kind: "address"; readonly address: string }
  /** What another build made, whose layers are here: an image of its platforms each. */
  | { readonly kind: "result"; readonly images: readonly ImageConfig[] }
  /** An earlier stage of the Dockerfile. */
  | { readonly kind: "stage"; readonly name: string };

const schemes = ["docker-image", "oci-layout", "target", "upload", "https", "http", "git", "ssh"];

/**
 * Reads what stands behind `name=`. `folderOf` gives the folder of an upload's handle.
 * @throws Failure "invalid"
 */
export function parseNamedContext(
  text: string,
  folderOf: (handle: string) => string,
): NamedContext {
  const [, scheme = "", rest = ""] = /^([\w-]+):(?:\/\/)?(.*)$/s.exec(text) ?? [];
  if (scheme === "docker-image") {
    parseReference(rest);
    return { kind: "image", reference: rest };
  }
  if (scheme === "target") return { kind: "stage", name: rest };
  if (scheme === "upload") return { kind: "folder", path: folderOf(rest) };
  if (scheme === "oci-layout") {
    const [, handle = "", version = ""] = /^([^@:]+)(?:[@:](.*))?$/s.exec(rest) ?? [];
    return { kind: "layout", path: folderOf(handle), version };
  }
  if (isGit(text) || isUrl(text)) return { kind: "address", address: text };
  const near = nearest(scheme, schemes);
  throw new Failure("invalid", `invalid context "${text.slice(0, 200)}"`, {
    hint: near
      ? `Did you mean ${near}:?`
      : "It is a folder, docker-image://, oci-layout://, target:, or the address of a repository or archive",
  });
}

/** Finds a context by what a Dockerfile writes: images in any spelling, stages in any case. */
export function contextFinder(
  contexts: ReadonlyMap<string, NamedContext> | undefined,
): (reference: string) => NamedContext | undefined {
  if (!contexts || contexts.size === 0) return () => undefined;
  const byName = new Map([...contexts].map(([name, context]) => [plainName(name), context]));
  return (reference) => byName.get(plainName(reference));
}

/** `docker.io/library/alpine:latest` is `alpine`. */
function plainName(name: string): string {
  try {
    return familiarReference(parseReference(name.toLowerCase())).replace(/:latest$/, "");
  } catch {
    return name.toLowerCase();
  }
}
