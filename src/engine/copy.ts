import { posix } from "node:path";
import { joinTars } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { resolveUser } from "../runtime/mod.ts";
import { packTar, unpackTar } from "../snapshot/mod.ts";
import { whileMounted, withMounted } from "./borrow.ts";
import type { Core } from "./core.ts";
import { baseName, findPath } from "./path-stat.ts";
import { locate, type Part, type Place, partsOf, readOnlyReason, statOf } from "./paths.ts";
import type { Container, PathStat } from "./types.ts";
import { mountRoot } from "./users.ts";

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
  const tar = whileMounted(core, id, async () =>
    packAll(await partsOf(core, container), place, as),
  );
  core.events.container(container, "archive-path", { path });
  return { stat, tar };
}

/** A place with all that is mounted below it: of a container that does not run, those are parts of their own. */
function packAll(parts: readonly Part[], place: Place, as: string): AsyncIterable<Uint8Array> {
  const base = place.inside === "/" ? "" : place.inside;
  const below = parts.filter((part) => {
    return part.target.startsWith(`${base}/`) && part.target !== "/" && isThere(part);
  });
  const pieces = [{ part: place.part, target: base, path: place.path }].concat(
    below.map((part) => ({ part, target: part.target, path: part.prefix || "/" })),
  );
  const tars = pieces.map(({ part, target, path }) => {
    const own = path === "/" ? "" : path.slice(1);
    const inner = below.filter((other) => other.target.startsWith(`${target}/`));
    const name = target.slice(base.length + 1);
    return () =>
      packTar(part.source, {
        path: own,
        as: name === "" ? as : `${as === "/" ? "" : as}/${name}`,
        nanoseconds: true,
        owners: part.owners,
        bare: kernelFolders,
        exclude: inner.map((other) => {
          return posix.join(own, other.target.slice(target.length + 1));
        }),
      });
  });
  return tars.length === 1 ? tars[0]!() : joinTars(tars);
}

function isThere(part: Part): boolean {
  return statOf({ part, path: part.prefix || "/", inside: part.target }) !== undefined;
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
      owners: place.part.owners,
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
    const { root, owners } = await mountRoot(core, id);
    return packTar(root, { nanoseconds: true, owners });
  });
}
