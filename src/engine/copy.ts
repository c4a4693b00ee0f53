import { Failure } from "../base/mod.ts";
import { resolveUser } from "../runtime/mod.ts";
import { packTar, unpackTar } from "../snapshot/mod.ts";
import { whileMounted, withMounted } from "./borrow.ts";
import type { Core } from "./core.ts";
import { baseName, findPath } from "./path-stat.ts";
import { locate, partsOf, readOnlyReason } from "./paths.ts";
import type { Container, PathStat } from "./types.ts";

/** What the kernel shows there is no file of the container's, and much of it cannot be read. */
const kernelFolders = ["proc", "sys", "dev"];

/** As `Engine.statPath`. */
export async function statPath(core: Core, id: string, path: string): Promise<PathStat> {
  const container = core.records.get(id);
  return await withMounted(core, id, async () => (await findPath(core, container, path)).stat);
}

/** As `Engine.readArchive`: entries start with the last name of `path`, or with "." for `dir/.`. */
export async function copyOut(
  core: Core,
  id: string,
  path: string,
): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
  const container = core.records.get(id);
  const { place, stat } = await withMounted(core, id, () => findPath(core, container, path));
  // Clients put another name in front of what begins with "/" when they are asked for the root.
  const as = baseName(path);
  const rules = { path: place.path.slice(1), as, nanoseconds: true, bare: kernelFolders };
  const tar = whileMounted(core, id, () => packTar(place.part.source, rules));
  core.events.container(container, "archive-path", { path });
  return { stat, tar };
}

type CopyIn = {
  readonly path: string;
  readonly tar: AsyncIterable<Uint8Array>;
  readonly noOverwriteDirNonDir: boolean;
  readonly copyUidGid: boolean;
};

/** As `Engine.writeArchive`. */
export async function copyIn(core: Core, id: string, what: CopyIn): Promise<void> {
  const container = core.records.get(id);
  await withMounted(core, id, async () => {
    const parts = await partsOf(core, container);
    const place = locate(parts, what.path, { followLast: true });
    if (!place.stat) {
      throw new Failure(
        "not_found",
        `Could not find the file ${what.path.slice(0, 1000)} in container ${container.name}`,
      );
    }
    if (place.stat.type !== "directory") {
      throw new Failure("invalid", "extraction point is not a directory");
    }
    const reason = readOnlyReason(core, id, place.inside);
    if (reason !== undefined) throw new Failure("denied", reason);
    const owner = what.copyUidGid ? ownerIn(container, parts[0]!.source) : undefined;
    await unpackTar(what.tar, place.part.source, {
      into: place.path.slice(1),
      devices: true,
      keepKinds: what.noOverwriteDirNonDir,
      ...(owner ? { owner } : {}),
    });
  });
  core.events.container(container, "extract-to-dir", { path: what.path });
}

/** `cp --archive` gives what it copies to the container's user, when it names one. */
function ownerIn({ config }: Container, root: string): { uid: number; gid: number } | undefined {
  if (!config.User) return undefined;
  return resolveUser(root, config.User);
}

/** As `Engine.export`: the root filesystem without what is mounted in it. */
export function exportRoot(core: Core, id: string): AsyncIterable<Uint8Array> {
  const container = core.records.get(id);
  core.events.container(container, "export");
  return whileMounted(core, id, async () => {
    return packTar(await core.snapshots.mount(id), { nanoseconds: true });
  });
}
