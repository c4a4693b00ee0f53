/** Names of images, as far as a command line must take them apart. */
import { Failure } from "../base/mod.ts";

/** `host:5000/name:tag` apart; a digest counts as tag, as the API has it. */
export function splitReference(image: string): { name: string; tag: string | undefined } {
  const digest = image.indexOf("@");
  if (digest !== -1) return { name: image.slice(0, digest), tag: image.slice(digest + 1) };
  const colon = image.lastIndexOf(":");
  if (colon <= image.lastIndexOf("/")) return { name: image, tag: undefined };
  return { name: image.slice(0, colon), tag: image.slice(colon + 1) };
}

/**
 * As `splitReference`, of a name that a user typed. The API takes an empty tag for "all" or "latest".
 * @throws Failure "invalid" — nothing stands before or after its colon
 */
export function readReference(image: string): { name: string; tag: string | undefined } {
  const parts = splitReference(image);
  if (parts.name !== "" && parts.tag !== "") return parts;
  throw new Failure("invalid", `invalid reference format: "${image}"`);
}

/** The name with the tag that is meant when it has none. */
export function withTag(image: string): string {
  return splitReference(image).tag === undefined ? `${image}:latest` : image;
}
