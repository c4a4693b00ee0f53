import { readdirSync } from "node:fs";
import { lstatIfThere } from "./rooted.ts";

/** Bytes of all files below a folder. Blocking: for a worker. Absent is 0. */
export function measure(path: string): number {
  const stat = lstatIfThere(path);
  if (!stat) return 0;
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + measure(`${path}/${name}`), 0);
}
