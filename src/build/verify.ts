/** Whether two builds of one Dockerfile came to the same image, and which line is why not. */
import { isDeepStrictEqual } from "node:util";
import { readTar, type TarEntry } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import type { Built, Place } from "./result.ts";

/** Something that two builds have otherwise. */
export interface Difference {
  /** In the image; "" for the image's config. */
  readonly path: string;
  /** `content`, `mode`, `only in the first`… */
  readonly what: readonly string[];
  readonly place: Place | undefined;
}

const shownMax = 50;
const countedMax = 100_000;

/** @throws Failure "conflict" — they differ; the message lists files and lines */
export async function requireSame(
  snapshots: SnapshotStore,
  one: Built,
  other: Built,
): Promise<void> {
  if (one.id === other.id) return;
  const found = await differences(snapshots, one, other);
  const lines = found.slice(0, shownMax).map(({ path, what, place }) => {
    const by = place ? ` (${place.file}:${place.line} ${place.text.split("\n")[0]})` : "";
    return `  ${path === "" ? "the image's config" : path}: ${what.join(", ")}${by}`;
  });
  const more = found.length - lines.length;
  if (more > 0) lines.push(`  and ${more}${found.length < countedMax ? "" : " or more"} others`);
  const count = `${found.length} difference${found.length === 1 ? "" : "s"}`;
  const ids = `${one.id} and then ${other.id}`;
  const text = `The build is not reproducible: it made ${ids}, with ${count}`;
  throw new Failure("conflict", `${text}\n${lines.join("\n")}`, {
    hint: "Remove these files in the same RUN, or have the command make them the same each time",
  });
}

/** What differs, stage by stage: what was made in one before what was copied from it. */
export async function differences(
  snapshots: SnapshotStore,
  one: Built,
  other: Built,
): Promise<Difference[]> {
  const found: Difference[] = [];
  const seen = new Set<string>();
  for (const [number, { layers, made }] of one.stages.entries()) {
    const others = other.stages[number]?.layers ?? [];
    for (let at = 0; at < Math.max(layers.length, others.length); at++) {
      const [a, b] = [layers[at], others[at]];
      const pair = `${a} ${b}`;
      if (a === b || seen.has(pair)) continue;
      seen.add(pair);
      const place = made.get(at) ?? other.stages[number]?.made.get(at);
      for await (const each of layerDifferences(snapshots, a, b)) {
        found.push({ ...each, place });
        if (found.length >= countedMax) return found;
      }
    }
  }
  return [...found, ...configDifferences(one, other)];
}

function configDifferences(one: Built, other: Built): Difference[] {
  const { rootfs: _one, ...config } = one.config;
  const { rootfs: _other, ...otherConfig } = other.config;
  type Name = keyof typeof config;
  const names = new Set([...Object.keys(config), ...Object.keys(otherConfig)]);
  const what = [...names].filter(
    (name) => !isDeepStrictEqual(config[name as Name], otherConfig[name as Name]),
  );
  return what.length > 0 ? [{ path: "", what, place: undefined }] : [];
}

/** Both tars are in the same order: they are read side by side. */
async function* layerDifferences(
  snapshots: SnapshotStore,
  one: Digest | undefined,
  other: Digest | undefined,
): AsyncGenerator<Omit<Difference, "place">, void> {
  const first = factsIn(snapshots, one);
  const second = factsIn(snapshots, other);
  try {
    let a = (await first.next()).value as Facts | undefined;
    let b = (await second.next()).value as Facts | undefined;
    while (a || b) {
      const order = !a ? 1 : !b ? -1 : comparePaths(a.path, b.path);
      if (order < 0) yield { path: a!.path, what: ["only in the first build"] };
      else if (order > 0) yield { path: b!.path, what: ["only in the second build"] };
      else {
        const what = Object.keys(a!.facts).filter((name) => a!.facts[name] !== b!.facts[name]);
        if (what.length > 0) yield { path: a!.path, what };
      }
      if (order <= 0) a = (await first.next()).value as Facts | undefined;
      if (order >= 0) b = (await second.next()).value as Facts | undefined;
    }
  } finally {
    await first.return();
    await second.return();
  }
}

interface Facts {
  readonly path: string;
  readonly facts: Readonly<Record<string, string | number>>;
}

async function* factsIn(
  snapshots: SnapshotStore,
  layer: Digest | undefined,
): AsyncGenerator<Facts, void> {
  if (layer === undefined) return;
  for await (const { header, body } of readTar(snapshots.layerTar(layer))) {
    yield { path: header.path, facts: { ...factsOf(header), content: await hashOf(body) } };
  }
}

function factsOf(header: TarEntry["header"]): Facts["facts"] {
  const xattrs = [...header.xattrs].map(([name, value]) => [
    name,
    Buffer.from(value).toString("hex"),
  ]);
  return {
    kind: header.type,
    mode: header.mode,
    owner: `${header.uid}:${header.gid}`,
    time: header.mtimeSeconds,
    "link target": header.linkPath,
    device: `${header.deviceMajor}:${header.deviceMinor}`,
    "extended attributes": JSON.stringify(xattrs),
  };
}

async function hashOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const bytes of body) hasher.update(bytes);
  return hasher.digest("hex");
}

/** A deletion stands where its file would; that of all that is below comes first. */
function nameOf(component: string): string {
  return component === ".wh..wh..opq" ? "" : component.replace(/^\.wh\./, "");
}

/** The canonical order: folder by folder, names by code unit. */
function comparePaths(one: string, other: string): number {
  const [a, b] = [one.split("/").map(nameOf), other.split("/").map(nameOf)];
  for (let at = 0; ; at++) {
    const [x, y] = [a[at], b[at]];
    if (x === undefined && y === undefined) return one === other ? 0 : one < other ? -1 : 1;
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    if (x !== y) return x < y ? -1 : 1;
  }
}
