/** Copies out of a container. What arrives is hostile: it is unpacked through `unpack.ts`. */
import { lstatSync, statSync } from "node:fs";
import type { PathStat } from "../api/schema.ts";
import { readTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import type { Client } from "./engine.ts";
import { write } from "./output.ts";
import { baseName, folderOf, resolve } from "./paths.ts";
import { Unpacker } from "./unpack.ts";

export interface CopyOptions {
  readonly keepsOwners: boolean;
  readonly followsLink: boolean;
}

/** Bits of Go's os.FileMode, which the API uses. */
export const modeFolder = 2 ** 31;
export const modeLink = 2 ** 27;
export function hasBit(mode: number, bit: number): boolean {
  return Math.floor(mode / bit) % 2 === 1;
}

/** Returns how many bytes were copied. */
export async function copyFrom(
  engine: Client,
  { container, path }: { container: string; path: string },
  target: string,
  { keepsOwners, followsLink }: CopyOptions,
): Promise<number> {
  let source = path;
  if (followsLink) {
    const stat = await engine.containers.statPath(container, path);
    if (hasBit(stat.mode, modeLink)) {
      source = stat.linkTarget.startsWith("/")
        ? stat.linkTarget
        : resolve(stat.linkTarget, folderOf(path));
    }
  }
  const { stat, tar } = await engine.containers.readArchive(container, source);
  if (target === "-") {
    let sizeBytes = 0;
    for await (const bytes of tar) {
      sizeBytes += bytes.length;
      await write(bytes);
    }
    return sizeBytes;
  }
  return unpackTo(tar, { stat, source, target, keepsOwners });
}

interface Copy {
  readonly stat: PathStat;
  readonly source: string;
  readonly target: string;
  readonly keepsOwners: boolean;
}

async function unpackTo(tar: AsyncIterable<Uint8Array>, copy: Copy): Promise<number> {
  const { folder, name } = destination(copy);
  // For `dir/.` the archive's names begin in the folder, whatever its own name is.
  const root = copiesContent(copy.source) ? "/" : copy.stat.name;
  const unpacker = new Unpacker(folder, { keepsOwners: copy.keepsOwners });
  for await (const { header, body } of readTar(tar, { end: "optional" })) {
    await unpacker.add({ ...header, path: renamed(header.path, root, name) }, body, (link) =>
      renamed(link, root, name),
    );
  }
  unpacker.finish();
  return unpacker.sizeBytes;
}

/** The first name of the path becomes `name`; with "" its content goes into the folder itself. */
export function renamed(path: string, root: string, name: string): string {
  const clean = path.replace(/^(\.?\/)+/, "");
  const isRoot = clean === root || clean === `${root}/`;
  if (root !== "/" && !isRoot && !clean.startsWith(`${root}/`)) return clean;
  const rest = root === "/" ? clean : clean.slice(root.length).replace(/^\//, "");
  if (name === "") return rest || ".";
  return rest === "" ? name : `${name}/${rest}`;
}

/** Whether a source ends in `/.`: the content of a folder then, without the folder. */
export function copiesContent(source: string): boolean {
  return /(^|\/)\.$/.test(source);
}

/** Where it goes and under which name, by the rules of `docker cp`. @throws Failure "invalid" */
function destination({ stat, source, target }: Copy): { folder: string; name: string } {
  const isFolder = hasBit(stat.mode, modeFolder);
  const path = resolve(target);
  const there = kindOf(path);
  if (there === "folder") {
    return { folder: path, name: copiesContent(source) ? "" : baseName(stat.name) };
  }
  if (there === "file") {
    if (isFolder) throw new Failure("invalid", "cannot copy directory");
    if (target.endsWith("/")) throw new Failure("invalid", "not a directory");
    return { folder: folderOf(path), name: baseName(path) };
  }
  if (kindOf(folderOf(path)) !== "folder") {
    throw new Failure(
      "not_found",
      `invalid output path: directory "${folderOf(path)}" does not exist`,
    );
  }
  if (target.endsWith("/") && !isFolder) throw new Failure("not_found", "no such directory");
  return { folder: folderOf(path), name: baseName(path) };
}

/** What a local path is, links followed. */
export function kindOf(path: string): "folder" | "file" | "nothing" {
  try {
    return statSync(path).isDirectory() ? "folder" : "file";
  } catch {
    // A link that leads nowhere is a file to be replaced.
    return isThere(path) ? "file" : "nothing";
  }
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
