/** Copies into a container. */
import { lstatSync, readlinkSync, statSync } from "node:fs";
import type { PathStat } from "../api/schema.ts";
import { Failure, isFailure } from "../base/mod.ts";
import { packPath } from "./build-context.ts";
import { type CopyOptions, copiesContent, hasBit, modeFolder, modeLink } from "./cp-from.ts";
import type { Client } from "./engine.ts";
import { baseName, folderOf, resolve } from "./paths.ts";

/** Returns how many bytes were sent. */
export async function copyTo(
  engine: Client,
  source: string,
  { container, path }: { container: string; path: string },
  { keepsOwners, followsLink }: CopyOptions,
): Promise<number> {
  const target = await resolveTarget(engine, container, path);
  const query = (folder: string) => ({
    path: folder,
    noOverwriteDirNonDir: true,
    copyUIDGID: keepsOwners,
  });
  if (source === "-") {
    if (!target.isFolder) {
      throw new Failure("invalid", `destination "${container}:${path}" must be a directory`);
    }
    const counted = counting(Bun.stdin.stream());
    await engine.containers.writeArchive(container, query(target.path), counted.bytes);
    return counted.total();
  }
  const { folder, name, from } = plan(source, { ...target, asked: path, followsLink });
  // With --archive, the engine gives them to the container's user; without, they stay whose they are.
  const counted = counting(packPath(from, { name, keepsOwners: true }));
  await engine.containers.writeArchive(container, query(folder), counted.bytes);
  return counted.total();
}

interface Target {
  readonly path: string;
  readonly exists: boolean;
  readonly isFolder: boolean;
}

/** A link in the container is followed once, as text: the engine keeps it inside the container. */
async function resolveTarget(engine: Client, container: string, path: string): Promise<Target> {
  const absolute = path.startsWith("/") ? path : `/${path}`;
  const stat = await statOrNothing(engine, container, absolute);
  if (!stat) return { path: absolute, exists: false, isFolder: false };
  if (!hasBit(stat.mode, modeLink)) {
    return { path: absolute, exists: true, isFolder: hasBit(stat.mode, modeFolder) };
  }
  const linked = resolve(stat.linkTarget, folderOf(absolute));
  const behind = await statOrNothing(engine, container, linked);
  const isFolder = behind ? hasBit(behind.mode, modeFolder) : false;
  return { path: linked, exists: behind !== undefined, isFolder };
}

async function statOrNothing(
  engine: Client,
  container: string,
  path: string,
): Promise<PathStat | undefined> {
  try {
    return await engine.containers.statPath(container, path);
  } catch (error) {
    if (isFailure(error, "not_found")) {
      // HEAD has no body: a container that is absent must be told from a path that is.
      await engine.containers.inspect(container);
      return undefined;
    }
    throw error;
  }
}

interface Plan {
  readonly folder: string;
  readonly name: string;
  readonly from: string;
}

/** Where it goes and under which name, by the rules of `docker cp`. @throws Failure "invalid" */
function plan(source: string, target: Target & { asked: string; followsLink: boolean }): Plan {
  const from = localSource(source, target.followsLink);
  const isFolder = lstatSync(from).isDirectory();
  if (target.isFolder) {
    const name = copiesContent(source) ? "" : baseName(resolve(source));
    return { folder: target.path, name, from };
  }
  if (target.exists && isFolder) throw new Failure("invalid", "cannot copy directory");
  if (target.asked.endsWith("/")) {
    if (target.exists) throw new Failure("invalid", "not a directory");
    if (!isFolder) throw new Failure("not_found", "no such directory");
  }
  return { folder: folderOf(target.path), name: baseName(target.path), from };
}

function localSource(source: string, followsLink: boolean): string {
  const path = resolve(source);
  try {
    const stat = lstatSync(path);
    if (!stat.isSymbolicLink()) return path;
    // With a slash at the end, or -L, the link stands for what it points to.
    if (!followsLink && !source.endsWith("/")) return path;
    statSync(path);
    return resolve(readlinkSync(path), folderOf(path));
  } catch (cause) {
    throw new Failure("not_found", `lstat ${path}: no such file or directory`, { cause });
  }
}

function counting(bytes: AsyncIterable<Uint8Array>) {
  let sum = 0;
  async function* through(): AsyncGenerator<Uint8Array> {
    for await (const part of bytes) {
      sum += part.length;
      yield part;
    }
  }
  return { bytes: through(), total: () => sum };
}
