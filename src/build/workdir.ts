import { closeFile } from "../sys/mod.ts";
import { Root } from "./rooted.ts";

/** Makes the folder of a WORKDIR, root's; tells whether there was anything to make. */
export function makeWorkdir(path: string, workdir: string): boolean {
  using root = new Root(path);
  let count = 0;
  closeFile(root.makeFolders(workdir, () => count++));
  return count > 0;
}
