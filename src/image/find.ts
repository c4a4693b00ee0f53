import { Failure } from "../base/mod.ts";
import {
  type Digest,
  familiarReference,
  fullReference,
  idPrefixOf,
  isDigest,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../oci/mod.ts";
import type { Records } from "./records.ts";

/** The name that a reference stands for in the tables; a digest outweighs a tag. */
export function nameOf(reference: Reference): string {
  const { tag: _tag, ...canonical } = reference;
  return fullReference(reference.digest ? canonical : withDefaultTag(reference));
}

/** No such image, in the words that Docker's clients know. */
export function noSuchImage(text: string): Failure {
  return new Failure("not_found", `No such image: ${text}`);
}

/**
 * Finds an image by ID, name or the start of an ID, in that order.
 * @throws Failure "not_found" | "conflict" (an ambiguous start) | "invalid" (no reference at all)
 */
export function findImage(records: Records, text: string): Digest {
  const whole = text.startsWith("sha256:") ? text : `sha256:${text}`;
  if (isDigest(whole)) {
    if (records.row(whole)) return whole;
    throw noSuchImage(text);
  }
  const hex = idPrefixOf(text);
  const byName = () => {
    const reference = parseReference(text);
    return { id: records.byName(nameOf(reference)), reference: withDefaultTag(reference) };
  };
  const { id, reference } = byName();
  if (id) return id;
  const found = hex === undefined ? [] : startingWith(records, hex);
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    throw new Failure("conflict", `Cannot find image "${text}": several IDs start with it`, {
      hint: "Give more digits",
    });
  }
  throw noSuchImage(familiarReference(reference));
}

function startingWith(records: Records, hex: string): Digest[] {
  return [...records.rows()].map(({ id }) => id).filter((id) => id.startsWith(`sha256:${hex}`));
}

/** True when the text is the image's ID or the start of it, and so no name. */
export function isIdOf(id: Digest, text: string): boolean {
  return id.startsWith(text) || id.startsWith(`sha256:${text}`);
}

/** A name that an image is to get, whole. @throws Failure "invalid" */
export function newName(text: string): string {
  const reference = withDefaultTag(parseReference(text));
  if (reference.digest) {
    throw new Failure("invalid", "refusing to create a tag with a digest reference");
  }
  // "sha256:…" would be taken for an ID ever after.
  if (familiarReference(reference).startsWith("sha256:")) {
    throw new Failure(
      "invalid",
      `refusing to create an ambiguous tag using digest algorithm as name`,
    );
  }
  return fullReference(reference);
}
