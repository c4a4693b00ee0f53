import { Failure } from "../base/mod.ts";
import { isNamespaced, type Stat } from "../sys/mod.ts";

/**
 * Deleted files, in the two forms they have: in archives a file named `.wh.NAME`, and on overlayfs a
 * character device 0:0; a directory that hides those below it, `.wh..wh..opq` and an xattr.
 * Spec: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts
 */
export const whiteoutPrefix = ".wh.";
export const opaqueName = ".wh..wh..opq";
/** overlayfs's own names; only the host's root may set trusted ones. */
export const overlayXattrs = isNamespaced ? "user.overlay." : "trusted.overlay.";
export const opaqueXattr = `${overlayXattrs}opaque`;
export const opaqueValue: Uint8Array = Buffer.from("y");

export type Whiteout =
  | { readonly kind: "opaque" }
  | { readonly kind: "deleted"; readonly name: string }
  /** What AUFS kept for itself; it means nothing here. */
  | { readonly kind: "ignored" };

/**
 * What a file's name in an archive says about the layers below; undefined for ordinary names.
 * @throws Failure "invalid" — `.wh...` and the like, which would delete the parent
 */
export function parseWhiteout(name: string): Whiteout | undefined {
  if (!name.startsWith(whiteoutPrefix)) return undefined;
  if (name === opaqueName) return { kind: "opaque" };
  if (name.startsWith(".wh..wh.")) return { kind: "ignored" };
  const deleted = name.slice(whiteoutPrefix.length);
  if (deleted === "" || deleted === "." || deleted === "..") {
    throw new Failure("invalid", `Cannot use the archive: "${name}" deletes no file of a name`);
  }
  return { kind: "deleted", name: deleted };
}

/** True for overlayfs's mark of a deleted file. */
export function isWhiteout(stat: Stat): boolean {
  return stat.type === "char" && stat.deviceMajor === 0 && stat.deviceMinor === 0;
}
