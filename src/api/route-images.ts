/** The endpoints of images. */

import { Failure, limits } from "../base/mod.ts";
import type { Digest, Platform } from "../oci/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, parseJson } from "./fields.ts";
import { imageFolders } from "./graph-driver.ts";
import { chooseImages, sharedBytesOf } from "./list-images.ts";
import { noRegistries, ProgressAnswer } from "./progress.ts";
import { booleanFilter, flag, parseFilters, parsePrune, whole } from "./query.ts";
import { sendTar } from "./route-archive.ts";
import type { Route } from "./router.ts";
import type { AuthBody } from "./schema.ts";
import { openScratch, spool } from "./spool.ts";
import { historyItem, imageInspect, imageSummary } from "./wire-image.ts";

type Parameters = readonly string[];

function list(exchange: Exchange, context: Context): void {
  const { query, minor } = exchange;
  const shared = flag(query, "shared-size") ? sharedBytesOf(context) : undefined;
  const chosen = chooseImages(context.images, query);
  exchange.json(
    200,
    chosen.map((image) => {
      const sharedBytes = shared?.get(image.id);
      return imageSummary(image, { minor, ...(sharedBytes === undefined ? {} : { sharedBytes }) });
    }),
  );
}

function inspect(exchange: Exchange, context: Context, [name = ""]: Parameters): void {
  // Compose 1 takes the newest version, yet reads what 1.44 was the last to have.
  const isOldCompose = exchange.headers.get("user-agent")?.startsWith("docker-compose/1.");
  const minor = isOldCompose ? Math.min(44, exchange.minor) : exchange.minor;
  const image = context.images.resolve(name);
  const graph = imageFolders(context, image.config.rootfs.diff_ids);
  exchange.json(200, imageInspect(image, { graph, minor }));
}

function history(exchange: Exchange, { images }: Context, [name = ""]: Parameters): void {
  exchange.json(200, images.history(images.resolve(name).id).map(historyItem));
}

function tag(exchange: Exchange, { images }: Context, [name = ""]: Parameters): void {
  const { query } = exchange;
  images.tag(images.resolve(name).id, referenceOf(query.get("repo") ?? "", query.get("tag") ?? ""));
  exchange.empty(201);
}

/** `repo` and `tag` of a query as one reference. @throws Failure "invalid" */
function referenceOf(repo: string, tag: string): string {
  if (repo === "")
    throw new Failure("invalid", "invalid reference format: the repository is empty");
  if (tag === "") return repo;
  if (/^sha(256|512):/.test(tag)) return `${repo}@${tag}`;
  // A tag of its own replaces that of the name.
  return `${repo.replace(/:[\w.-]+$/, "")}:${tag}`;
}

async function remove(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  const { query } = exchange;
  const removed = await engine.removeImage(name, {
    force: flag(query, "force"),
    noPrune: flag(query, "noprune"),
  });
  exchange.json(200, removed.map(removalAnswer));
}

function removalAnswer(removal: { untagged: string } | { deleted: string }) {
  return "untagged" in removal ? { Untagged: removal.untagged } : { Deleted: removal.deleted };
}

async function prune(exchange: Exchange, { engine, images }: Context): Promise<void> {
  const known = ["dangling", "until", "label", "label!"];
  const { filters, isDry, without } = parsePrune(exchange.query, known);
  const { removed, reclaimedBytes } = await images.prune({
    all: booleanFilter(filters, "dangling") === false,
    filters,
    isDry,
    users: (id) => engine.imageUsers(id).filter((user) => !without.has(user.id)),
  });
  if (!isDry) {
    const actor = { id: "", attributes: { reclaimed: String(reclaimedBytes) } };
    engine.emit({ type: "image", action: "prune", actor });
  }
  exchange.json(200, {
    ImagesDeleted: removed.map(removalAnswer),
    SpaceReclaimed: reclaimedBytes,
  });
}

async function load(exchange: Exchange, context: Context): Promise<void> {
  const { query, signal } = exchange;
  const platform = platformOf(query.get("platform") ?? "");
  const isQuiet = flag(query, "quiet");
  await using scratch = await openScratch(context.directory);
  const path = `${scratch.path}/archive`;
  await spool(exchange.body(), path, limits.layerBytesMax);
  const answer = new ProgressAnswer(exchange);
  await answer.run(async () => {
    const loaded = await context.images.load(path, {
      report: isQuiet ? () => {} : answer.report,
      signal,
      isSpent: true,
      ...(platform ? { platform } : {}),
    });
    for (const { image, tags } of loaded) {
      for (const name of tags) answer.send({ stream: `Loaded image: ${name}\n` });
      if (tags.length === 0) answer.send({ stream: `Loaded image ID: ${image.id}\n` });
    }
  });
}

async function save(exchange: Exchange, { images }: Context, names: Parameters): Promise<void> {
  if (names.length === 0) throw new Failure("invalid", "Cannot save: the query names no image");
  // Docker refuses an unknown name before it sends the first byte.
  for (const name of names) images.resolve(name);
  const platform = platformOf(exchange.query.get("platform") ?? "");
  await sendTar(exchange, images.save(names, platform ? { platform } : {}));
}

function saveMany(exchange: Exchange, context: Context): Promise<void> {
  const names = exchange.query.getAll("names").flatMap((each) => each.split(","));
  return save(
    exchange,
    context,
    names.filter((name) => name !== ""),
  );
}

/** `os/architecture[/variant]`, or the same as JSON, as newer clients send it. @throws "invalid" */
export function platformOf(text: string): Platform | undefined {
  if (text === "") return undefined;
  if (text.startsWith("{")) {
    const fields = new Fields(parseJson(text), "platform");
    const variant = fields.text("variant");
    const os = fields.text("os") ?? "linux";
    const architecture = fields.text("architecture") ?? "";
    return { os, architecture, ...(variant ? { variant } : {}) };
  }
  const match = /^([a-z0-9]+)(?:\/([a-zA-Z0-9_]+)(?:\/([a-zA-Z0-9]+))?)?$/.exec(text);
  if (!match) {
    const shown = text.slice(0, 100);
    throw new Failure("invalid", `invalid platform: "${shown}": it is os/architecture[/variant]`);
  }
  const [, os = "linux", architecture = hostArchitecture, variant] = match;
  return { os, architecture, ...(variant ? { variant } : {}) };
}

const hostArchitecture = process.arch === "x64" ? "amd64" : process.arch;

function create(exchange: Exchange, context: Context): Promise<void> {
  const { query } = exchange;
  if (query.get("fromImage")) return pull(exchange, context);
  if (query.get("fromSrc")) return importImage(exchange, context);
  throw new Failure("invalid", "Cannot create an image: neither fromImage nor fromSrc is there");
}

async function pull(exchange: Exchange, { registries }: Context): Promise<void> {
  const { query, signal } = exchange;
  const reference = referenceOf(query.get("fromImage") ?? "", query.get("tag") ?? "");
  const pullImage = registries?.pull;
  if (!pullImage) throw noRegistries(`pull "${reference}"`);
  const auth = authOf(exchange);
  const answer = new ProgressAnswer(exchange);
  const platform = query.get("platform") ?? "";
  await answer.run(() => pullImage(reference, { platform, auth, report: answer.report, signal }));
}

async function push(
  exchange: Exchange,
  { registries }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  const { query, signal } = exchange;
  const reference = referenceOf(name, query.get("tag") ?? "");
  const pushImage = registries?.push;
  if (!pushImage) throw noRegistries(`push "${reference}"`);
  const auth = authOf(exchange);
  const platform = platformOf(query.get("platform") ?? "");
  const answer = new ProgressAnswer(exchange);
  await answer.run(() => pushImage(reference, { platform, auth, report: answer.report, signal }));
}

/** The credentials that clients send with pull and push. @throws Failure "invalid" */
function authOf(exchange: Exchange): AuthBody {
  const text = exchange.headers.get("x-registry-auth") ?? "";
  if (text === "") return {};
  const json = Buffer.from(text, "base64url").toString() || "{}";
  const fields = new Fields(parseJson(json), "X-Registry-Auth");
  const names = ["username", "password", "email", "serveraddress", "identitytoken"] as const;
  const entries = names.map((name) => [name, fields.text(name)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

async function importImage(exchange: Exchange, context: Context): Promise<void> {
  const { query } = exchange;
  const source = query.get("fromSrc") ?? "";
  if (source !== "-") {
    throw new Failure(
      "unsupported",
      `Cannot import "${source.slice(0, 300)}": only a body can be`,
      {
        hint: "Download it first, and send it as the request's body (fromSrc=-)",
      },
    );
  }
  const repo = query.get("repo") ?? "";
  const changes = query.getAll("changes").flatMap((each) => each.split("\n"));
  const platform = platformOf(query.get("platform") ?? "");
  const { applyChanges } = await import("../build/mod.ts");
  const runConfig = applyChanges({}, changes);
  await using scratch = await openScratch(context.directory);
  const path = `${scratch.path}/archive`;
  await spool(exchange.body(), path, limits.layerBytesMax);
  const answer = new ProgressAnswer(exchange);
  await answer.run(async () => {
    const image = await context.images.import(path, {
      ...(repo === "" ? {} : { reference: referenceOf(repo, query.get("tag") ?? "") }),
      changes: runConfig,
      message: query.get("message") ?? "",
      platform: platform ?? { os: "linux", architecture: hostArchitecture },
    });
    answer.send({ status: image.id as Digest });
  });
}

async function search(exchange: Exchange, { registries }: Context): Promise<void> {
  const { query, signal } = exchange;
  const term = query.get("term") ?? "";
  if (!registries?.search) throw noRegistries(`search for "${term.slice(0, 100)}"`);
  const filters = parseFilters(query, ["is-official", "is-automated", "stars"]);
  const limit = whole(query, "limit") ?? 0;
  const found = await registries.search(term, { limit, auth: authOf(exchange), signal });
  const starsMin = Number(filters.get("stars")?.[0] ?? 0);
  const isWanted = (name: string, has: boolean) =>
    (filters.get(name) ?? []).every((value) => (value === "true" || value === "1") === has);
  exchange.json(
    200,
    found.filter(
      (each) =>
        each.star_count >= starsMin &&
        isWanted("is-official", each.is_official) &&
        isWanted("is-automated", each.is_automated),
    ),
  );
}

async function distribution(
  exchange: Exchange,
  { registries }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  if (!registries?.describe) throw noRegistries(`ask a registry about "${name.slice(0, 300)}"`);
  const { signal } = exchange;
  exchange.json(200, await registries.describe(name, { auth: authOf(exchange), signal }));
}

export const routes: readonly Route[] = [
  ["GET", "/images/json", list],
  ["POST", "/images/create", create],
  ["POST", "/images/load", load],
  ["POST", "/images/prune", prune],
  ["GET", "/images/get", saveMany],
  ["GET", "/images/search", search],
  ["GET", "/images/{name}/json", inspect],
  ["GET", "/images/{name}/history", history],
  ["GET", "/images/{name}/get", save],
  ["POST", "/images/{name}/push", push],
  ["POST", "/images/{name}/tag", tag],
  ["DELETE", "/images/{name}", remove],
  ["GET", "/distribution/{name}/json", distribution],
];
