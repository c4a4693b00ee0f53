import { Failure } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { findPath } from "./path-stat.ts";
import type { PathStat } from "./types.ts";

/** As `Engine.statPath`. */
export async function statPath(core: Core, id: string, path: string): Promise<PathStat> {
  return (await findPath(core, core.records.get(id), path)).stat;
}
const notYet = () => new Failure("unsupported", "Cannot copy yet");
export async function copyOut(
  _core: Core,
  _id: string,
  _path: string,
): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
  throw notYet();
}
export async function copyIn(_core: Core, _id: string, _what: unknown): Promise<void> {
  throw notYet();
}
export function exportRoot(_core: Core, _id: string): AsyncIterable<Uint8Array> {
  throw notYet();
}
