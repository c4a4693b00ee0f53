import { closeFile, errnoOf, findAt, listDirectory, open, openPath } from "../sys/mod.ts";
import { openFolder } from "./changes.ts";

/** Bytes of the files below a directory, each counted once however many names it has. */
export function measureTree(path: string): number {
  const root = openPath(path, open.path | open.directory);
  const seen = new Set<string>();
  const measure = (folderPath: string): number => {
    const folder = openFolder(root, folderPath);
    try {
      return listDirectory(folder).reduce((sum, { name }) => {
        const stat = findAt(folder, name);
        if (stat?.type === "directory") return sum + measureSafely(`${folderPath}/${name}`);
        if (stat?.type !== "file" || (stat.links > 1 && seen.has(stat.identity))) return sum;
        if (stat.links > 1) seen.add(stat.identity);
        return sum + stat.sizeBytes;
      }, 0);
    } finally {
      closeFile(folder);
    }
  };
  const measureSafely = (folderPath: string): number => {
    try {
      return measure(folderPath.replace(/^\//, ""));
    } catch (error) {
      if (["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"].includes(errnoOf(error) ?? "")) return 0;
      throw error;
    }
  };
  try {
    return measure("");
  } finally {
    closeFile(root);
  }
}
