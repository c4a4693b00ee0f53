import { chmodFile, closeFile } from "../sys/mod.ts";
import { Root } from "./rooted.ts";

/** Makes the folder of a WORKDIR, root's; tells whether there was anything to make. */
export function makeWorkdir(path: string, workdir: string): boolean {
  using root = new Root(path);
  let count = 0;
  const made = (folder: number) => {
    chmodFile(folder, 0o755); // whatever our umask is
    count++;
  };
  closeFile(root.makeFolders(workdir, made));
  return count > 0;
}
