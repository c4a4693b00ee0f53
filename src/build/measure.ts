import { closeFile, listDirectory, open, openAt, statAt } from "../sys/mod.ts";
import { Root } from "./rooted.ts";

/** Bytes of all files below a folder. Blocking: for a worker. */
export function measure(path: string): number {
  using root = new Root(path);
  const folder = root.open("", open.readOnly | open.directory);
  return folder === undefined ? 0 : measureAndClose(folder);
}

function measureAndClose(folder: number): number {
  try {
    return listDirectory(folder).reduce((sum, { name }) => {
      const stat = statAt(folder, name);
      if (stat.type !== "directory") return sum + stat.sizeBytes;
      return sum + measureAndClose(openAt(folder, name, open.readOnly | open.directory));
    }, 0);
  } finally {
    closeFile(folder);
  }
}
