/** `GET /containers/json`: which containers, and their JSON, kept as long as nothing changed. */
import { Failure } from "../base/mod.ts";
import type { Container } from "../engine/mod.ts";
import type { Image, ImageStore } from "../image/mod.ts";
import type { Sandbox } from "../network/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import {
  anyOf,
  booleanFilter,
  type FilterMap,
  flag,
  matchesLabels,
  matchesName,
  parseFilters,
  whole,
} from "./query.ts";
import { containerSummary, isUp, portList } from "./wire-container.ts";
import { statusWords } from "./words.ts";

const knownFilters = [
  "ancestor",
  "before",
  "exited",
  "expose",
  "health",
  "id",
  "is-task",
  "isolation",
  "label",
  "name",
  "network",
  "publish",
  "since",
  "status",
  "volume",
];

const statuses = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const healths = ["starting", "healthy", "unhealthy", "none"];

export async function listContainers(exchange: Exchange, context: Context): Promise<void> {
  const { query } = exchange;
  if (!flag(query, "size")) {
    exchange.json(200, query.get("filters") ? listText(context, query) : keptList(context, query));
    return;
  }
  const chosen = chooseContainers(context, query);
  const { engine, images } = context;
  const sized = chosen.map(async (container) => ({
    ...containerSummary(engine, container, imageNameOf(images, container)),
    ...(await sizesOf(context, container)),
  }));
  exchange.json(200, await Promise.all(sized));
}

function listText(context: Context, query: URLSearchParams): string {
  const texts = chooseContainers(context, query).map((each) => summaryText(context, each));
  return `[${texts.join(",")}]\n`;
}

interface KeptList {
  readonly second: number;
  readonly list: readonly Container[];
  readonly sandboxes: readonly (Sandbox | undefined)[];
  readonly names: NameCache["ids"];
  readonly bytes: Buffer;
}

/** The answers of this second without filters, by query: many clients ask again and again. */
const keptLists = new WeakMap<Context, Map<string, KeptList>>();
const keptListsMax = 8;

/** `Status` counts seconds; all else changes with the engine's list, a sandbox or a tag. */
function keptList(context: Context, query: URLSearchParams): Buffer {
  const { engine, images } = context;
  const second = Math.floor(Date.now() / 1000);
  const list = engine.list();
  const names = namesOf(images);
  const isSame = (each: KeptList) =>
    each.second === second &&
    each.list === list &&
    each.names === names &&
    each.sandboxes.every((sandbox, at) => sandbox === engine.sandbox(list[at]!.id));
  let lists = keptLists.get(context);
  if (!lists || lists.size >= keptListsMax) keptLists.set(context, (lists = new Map()));
  const key = query.toString();
  const found = lists.get(key);
  if (found && isSame(found)) return found.bytes;
  const sandboxes = list.map(({ id }) => engine.sandbox(id));
  const bytes = Buffer.from(listText(context, query));
  lists.set(key, { second, list, sandboxes, names, bytes });
  return bytes;
}

/** `SizeRw` and `SizeRootFs`. */
export async function sizesOf({ engine, images }: Context, container: Container) {
  const rw = await engine.size(container.id);
  return { SizeRw: rw, SizeRootFs: rw + (images.find(container.imageId)?.sizeBytes ?? 0) };
}

interface Kept {
  readonly sandbox: Sandbox | undefined;
  readonly imageName: string;
  readonly before: string;
  readonly after: string;
}

/** By record: the engine makes a new one for each change. */
const kept = new WeakMap<Container, Kept>();

/** The JSON of one container; only its `Status` is made anew each time. */
function summaryText({ engine, images }: Context, container: Container): string {
  const sandbox = engine.sandbox(container.id);
  const imageName = imageNameOf(images, container);
  let text = kept.get(container);
  if (!text || text.sandbox !== sandbox || text.imageName !== imageName) {
    const { Status: _, ...rest } = containerSummary(engine, container, imageName);
    const json = JSON.stringify(rest);
    text = { sandbox, imageName, before: `${json.slice(0, -1)},"Status":`, after: "}" };
    kept.set(container, text);
  }
  return text.before + JSON.stringify(statusWords(container)) + text.after;
}

/** Which names are right depends on the tags alone: looked up again when one changes. */
interface NameCache {
  ids: Map<string, string | undefined>;
}
const nameCaches = new WeakMap<ImageStore, NameCache>();
const namesKeptMax = 10_000;

function namesOf(images: ImageStore): NameCache["ids"] {
  let cache = nameCaches.get(images);
  if (!cache) {
    const made: NameCache = { ids: new Map() };
    images.onEvent(() => {
      made.ids = new Map();
    });
    nameCaches.set(images, made);
    cache = made;
  }
  return cache.ids;
}

/** The name that `create` was called with, while it still means this image; else the image's ID. */
export function imageNameOf(images: ImageStore, container: Container): string {
  const ids = namesOf(images);
  if (!ids.has(container.imageName)) {
    if (ids.size >= namesKeptMax) ids.clear();
    ids.set(container.imageName, images.find(container.imageName)?.id);
  }
  return ids.get(container.imageName) === container.imageId
    ? container.imageName
    : container.imageId;
}

/** The containers that a list's query asks for, newest first. @throws Failure "invalid" | "not_found" */
export function chooseContainers(context: Context, query: URLSearchParams): Container[] {
  const filters = parseFilters(query, knownFilters);
  checkFilters(filters);
  const limit = whole(query, "limit") ?? 0;
  const named = filters.has("status") || filters.has("exited") || filters.has("health");
  const all = flag(query, "all") || named || limit > 0;
  const matches = matcherOf(context, filters);
  const found = context.engine
    .list()
    .filter((container) => (all || isUp(container)) && (filters.size === 0 || matches(container)))
    .toSorted((a, b) => (a.created < b.created ? 1 : a.created > b.created ? -1 : 0));
  return limit > 0 ? found.slice(0, limit) : found;
}

function checkFilters(filters: FilterMap): void {
  const check = (name: string, isGood: (value: string) => boolean) => {
    const bad = filters.get(name)?.find((value) => !isGood(value));
    if (bad !== undefined) {
      throw new Failure("invalid", `invalid filter '${name}=${bad.slice(0, 100)}'`);
    }
  };
  check("status", (value) => statuses.includes(value));
  check("health", (value) => healths.includes(value));
  check("exited", (value) => /^-?\d{1,9}$/.test(value));
  check("publish", (value) => portRange.test(value));
  check("expose", (value) => portRange.test(value));
  booleanFilter(filters, "is-task");
}

const portRange = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/;

function matcherOf({ engine, images, networks }: Context, filters: FilterMap) {
  const timeOf = (name: string) => {
    const values = filters.get(name);
    return values?.map((value) => engine.resolve(value).created);
  };
  const before = timeOf("before");
  const since = timeOf("since");
  const ancestors = filters.get("ancestor")?.map((value) => images.find(value));
  const networkIds = filters.get("network")?.map((value) => {
    return networks.list().find(({ id, name }) => id === value || name === value)?.id ?? value;
  });
  return (container: Container): boolean => {
    const { id, name, created, state, config } = container;
    return (
      anyOf(filters, "id", (value) => id.startsWith(value) || matchesName(value, id)) &&
      anyOf(filters, "name", (value) => {
        const pattern = value.startsWith("/") ? value : value.replace(/^\^\//, "^");
        return matchesName(pattern, name) || matchesName(pattern, `/${name}`);
      }) &&
      anyOf(filters, "status", (value) => state.status === value) &&
      anyOf(filters, "exited", (value) => isExitedWith(container, Number(value))) &&
      anyOf(filters, "health", (value) => (state.health?.Status ?? "none") === value) &&
      matchesLabels(filters, config.Labels ?? {}) &&
      (before === undefined || before.some((time) => created < time)) &&
      (since === undefined || since.some((time) => created > time)) &&
      (ancestors === undefined || ancestors.some((image) => descends(images, container, image))) &&
      (networkIds === undefined ||
        engine.endpoints(id).some((each) => networkIds.includes(each.networkId))) &&
      anyOf(filters, "volume", (value) => usesVolume(container, value)) &&
      booleanFilter(filters, "is-task") !== true &&
      anyOf(filters, "publish", (value) => hasPort(container, engine.sandbox(id), value, true)) &&
      anyOf(filters, "expose", (value) => hasPort(container, engine.sandbox(id), value, false))
    );
  };
}

function isExitedWith({ state }: Container, code: number): boolean {
  return (state.status === "exited" || state.status === "dead") && state.exitCode === code;
}

/** True when the container's image is `ancestor` or was built above it. */
function descends(images: ImageStore, container: Container, ancestor: Image | undefined): boolean {
  if (!ancestor) return false;
  if (container.imageId === ancestor.id) return true;
  const below = ancestor.config.rootfs.diff_ids;
  const layers = images.find(container.imageId)?.config.rootfs.diff_ids ?? [];
  return below.length > 0 && below.every((layer, at) => layers[at] === layer);
}

function usesVolume({ mounts }: Container, value: string): boolean {
  return mounts.some(
    ({ Name, Destination, Source }) => Name === value || Destination === value || Source === value,
  );
}

function hasPort(
  container: Container,
  sandbox: Sandbox | undefined,
  value: string,
  isPublished: boolean,
): boolean {
  const [, first = "", last = first, protocol = "tcp"] = portRange.exec(value) ?? [];
  const isIn = (port: number | undefined, type: string) =>
    port !== undefined && port >= Number(first) && port <= Number(last) && type === protocol;
  const ports = portList(container, sandbox);
  if (isPublished) return ports.some(({ PublicPort, Type }) => isIn(PublicPort, Type));
  const exposed = Object.keys(container.config.ExposedPorts ?? {}).map((each) => each.split("/"));
  return (
    ports.some(({ PrivatePort, Type }) => isIn(PrivatePort, Type)) ||
    exposed.some(([port, type = "tcp"]) => isIn(Number(port), type))
  );
}
