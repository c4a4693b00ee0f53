import { getXattr, listXattrs, pathOf } from "../sys/mod.ts";
import type { Entry } from "./tree.ts";

/** overlayfs's own marks, and labels that belong to the host: not content. */
const isForeign = (name: string) =>
  name.startsWith("trusted.overlay.") ||
  name.startsWith("user.overlay.") ||
  name === "security.selinux" ||
  name.startsWith("system.");

/** The extended attributes of an entry that are content, file capabilities above all. Sorted. */
export function xattrsOf({ folder, name }: Entry): [name: string, value: string][] {
  const path = name === "" ? pathOf(folder) : `${pathOf(folder)}/${name}`;
  // The folder's own path is a magic link, which the calls do not follow: ask by its dot.
  const real = name === "" ? `${path}/.` : path;
  const names = listXattrs(real).filter((each) => !isForeign(each));
  return names.sort().flatMap((each) => {
    const value = getXattr(real, each);
    return value ? [[each, value.toString("base64")]] : [];
  });
}
