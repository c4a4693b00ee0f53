/** Which images a list shows, and what of their size they share. */
import { Failure } from "../base/mod.ts";
import type { Image, ImageStore } from "../image/mod.ts";
import type { Context } from "./context.ts";
import {
  booleanFilter,
  type FilterMap,
  flag,
  matchesGlob,
  matchesLabels,
  parseFilters,
  parseTimeNs,
} from "./query.ts";

const knownFilters = ["before", "dangling", "label", "label!", "reference", "since", "until"];

/** Newest first. @throws Failure "invalid" — an unknown filter; "not_found" */
export function chooseImages(images: ImageStore, query: URLSearchParams): Image[] {
  const filters = parseFilters(query, knownFilters);
  const matches = matcherOf(images, filters);
  const list = images.list();
  const parents = new Set(list.map(({ parent }) => parent));
  const all = flag(query, "all");
  const patterns = filters.get("reference");
  return list
    .map((image) => (patterns ? namedBy(image, patterns) : image))
    .filter((image) => {
      // A step between two images is no image that anybody made.
      const isBetween = image.tags.length === 0 && parents.has(image.id);
      return (all || !isBetween) && matches(image);
    })
    .toSorted((a, b) => byAge(b, a));
}

function createdMs({ config }: Image): number {
  const ms = Date.parse(config.created ?? "");
  return Number.isNaN(ms) ? 0 : ms;
}

/** Oldest first. A build gives its image the time of its base: what came here later is newer. */
function byAge(a: Image, b: Image): number {
  return createdMs(a) - createdMs(b) || a.lastTaggedMs - b.lastTaggedMs;
}

function matcherOf(images: ImageStore, filters: FilterMap) {
  const dangling = booleanFilter(filters, "dangling");
  const imagesOf = (name: string) => filters.get(name)?.map((value) => images.resolve(value));
  const before = imagesOf("before");
  const since = imagesOf("since");
  const until = filters.get("until")?.map((value) => {
    const time = parseTimeNs(value);
    if (time !== undefined) return Number(time / 1_000_000n);
    throw new Failure("invalid", `invalid until filter: "${value.slice(0, 100)}"`);
  });
  return (image: Image): boolean => {
    const created = createdMs(image);
    return (
      (dangling === undefined || (image.tags.length === 0) === dangling) &&
      matchesLabels(filters, image.config.config?.Labels ?? {}) &&
      (before === undefined || before.some((other) => byAge(image, other) < 0)) &&
      (since === undefined || since.some((other) => byAge(image, other) > 0)) &&
      (until === undefined || until.some((time) => Math.max(created, image.lastTaggedMs) < time)) &&
      (!filters.has("reference") || image.tags.length + image.repoDigests.length > 0)
    );
  };
}

/**
 * The image with those of its names that match a pattern. Docker matches it with the whole familiar
 * name, and with it less its tag or digest.
 */
function namedBy(image: Image, patterns: readonly string[]): Image {
  const without = (name: string) => name.replace(/(@[^@]+|:[^:/]+)$/, "");
  const matches = (name: string) =>
    patterns.some((each) => matchesGlob(each, name) || matchesGlob(each, without(name)));
  return {
    ...image,
    tags: image.tags.filter(matches),
    repoDigests: image.repoDigests.filter(matches),
  };
}

/** For each image the bytes of its layers that another image has too. */
export function sharedBytesOf({ images, snapshots }: Context): Map<string, number> {
  const list = images.list();
  const users = new Map<string, number>();
  for (const image of list) {
    for (const layer of new Set(image.config.rootfs.diff_ids)) {
      users.set(layer, (users.get(layer) ?? 0) + 1);
    }
  }
  const shared = (image: Image) =>
    image.config.rootfs.diff_ids
      .filter((layer) => (users.get(layer) ?? 0) > 1)
      .reduce((sum, layer) => sum + (snapshots.layer(layer)?.sizeBytes ?? 0), 0);
  return new Map(list.map((image) => [image.id, shared(image)]));
}
