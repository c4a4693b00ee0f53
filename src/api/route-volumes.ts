/** The endpoints of volumes. */
import { Failure, isFailure } from "../base/mod.ts";
import type { Volume } from "../volume/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { readOptionalFields } from "./fields.ts";
import {
  anyOf,
  booleanFilter,
  flag,
  matchesLabels,
  matchesName,
  parseFilters,
  parsePrune,
} from "./query.ts";
import { copyRoutes } from "./route-volume-copies.ts";
import type { Route } from "./router.ts";
import type { VolumeAnswer } from "./schema.ts";

type Parameters = readonly string[];

/** A volume as the wire has it; its use only where it was reckoned. */
export function volumeAnswer(
  volume: Volume,
  usage?: { readonly sizeBytes: number; readonly users: number },
): VolumeAnswer {
  const hasOptions = Object.keys(volume.options).length > 0;
  return {
    Name: volume.name,
    Driver: volume.driver,
    Mountpoint: volume.mountpoint,
    CreatedAt: volume.createdAt,
    Labels: labelsOf(volume),
    Scope: volume.scope,
    Options: hasOptions ? volume.options : {},
    ...(usage ? { UsageData: { Size: usage.sizeBytes, RefCount: usage.users } } : {}),
  };
}

/** Docker marks a volume that nobody named by this label. */
function labelsOf({ labels, anonymous }: Volume): Readonly<Record<string, string>> {
  return anonymous ? { "com.docker.volume.anonymous": "", ...labels } : labels;
}

async function list(exchange: Exchange, { volumes }: Context): Promise<void> {
  const warnings = await volumes.refresh();
  const filters = parseFilters(exchange.query, ["dangling", "driver", "label", "label!", "name"]);
  const dangling = booleanFilter(filters, "dangling");
  const chosen = volumes.list().filter((volume) => {
    const isUnused = () => volumes.usersOf(volume.name).length === 0;
    return (
      anyOf(
        filters,
        "name",
        (value) => volume.name.includes(value) || matchesName(value, volume.name),
      ) &&
      anyOf(filters, "driver", (value) => volume.driver === value) &&
      matchesLabels(filters, labelsOf(volume)) &&
      (dangling === undefined || isUnused() === dangling)
    );
  });
  exchange.json(200, {
    Volumes: chosen.map((volume) => volumeAnswer(volume)),
    Warnings: warnings.length > 0 ? warnings : null,
  });
}

async function create(exchange: Exchange, { volumes, engine }: Context): Promise<void> {
  const body = await readOptionalFields(exchange);
  if (body.has("ClusterVolumeSpec")) {
    throw new Failure("unsupported", "Cannot create a cluster volume: that takes a swarm");
  }
  const name = body.text("Name") ?? "";
  const before = new Set(volumes.list().map((volume) => volume.name));
  const volume = await volumes.create({
    ...(name === "" ? {} : { name }),
    driver: body.text("Driver") ?? "",
    labels: body.labels("Labels") ?? {},
    options: body.labels("DriverOpts") ?? {},
  });
  if (!before.has(volume.name)) tellVolume(engine, "create", volume);
  exchange.json(201, volumeAnswer(volume));
}

/** Emits what happened to a volume. */
export function tellVolume(
  engine: Context["engine"],
  action: string,
  { name, driver }: Volume,
  more: Readonly<Record<string, string>> = {},
): void {
  engine.emit({ type: "volume", action, actor: { id: name, attributes: { driver, ...more } } });
}

/** With `size`, ours, also what it takes and how many containers have it. */
async function inspect(
  exchange: Exchange,
  { volumes }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  const { status, ...volume } = await volumes.inspect(name);
  const usage = flag(exchange.query, "size") ? await usageOf(volumes, name) : undefined;
  exchange.json(200, {
    ...volumeAnswer(volume, usage),
    ...(typeof status === "object" && status !== null ? { Status: status } : {}),
  });
}

async function usageOf(volumes: Context["volumes"], name: string) {
  return { sizeBytes: await volumes.usage(name), users: volumes.usersOf(name).length };
}

/** Those that are files on the engine's disk: of others nobody knows the size, nor if they may go. */
export function isPlain({ driver, options }: Volume): boolean {
  return driver === "local" && Object.keys(options).length === 0;
}

async function remove(
  exchange: Exchange,
  { volumes, engine }: Context,
  [name = ""]: Parameters,
): Promise<void> {
  const force = flag(exchange.query, "force");
  const volume = volumes.list().find((each) => each.name === name);
  // With force an absent volume is no error.
  if (volume || !force) await volumes.remove(name, { force });
  if (volume) tellVolume(engine, "destroy", volume);
  exchange.empty(204);
}

async function prune(exchange: Exchange, { volumes, engine }: Context): Promise<void> {
  const { filters, isDry, without } = parsePrune(exchange.query, ["all", "label", "label!"]);
  // Until 1.42 every unused volume went, since then anonymous ones unless all=true.
  const all = booleanFilter(filters, "all") === true || exchange.minor < 42;
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const volume of volumes.list().filter(isPlain)) {
    const users = volumes.usersOf(volume.name).filter((id) => !without.has(id));
    if (users.length > 0 || (!all && !volume.anonymous)) continue;
    if (!matchesLabels(filters, labelsOf(volume))) continue;
    try {
      const sizeBytes = await volumes.usage(volume.name);
      if (!isDry) await volumes.remove(volume.name, { force: false });
      reclaimed += sizeBytes;
    } catch (error) {
      // Somebody took or removed it meanwhile.
      if (isFailure(error, "conflict") || isFailure(error, "not_found")) continue;
      throw error;
    }
    if (!isDry) tellVolume(engine, "destroy", volume);
    deleted.push(volume.name);
  }
  const answer = { VolumesDeleted: deleted, SpaceReclaimed: reclaimed };
  if (isDry) return exchange.json(200, answer);
  const attributes = { reclaimed: String(reclaimed) };
  engine.emit({ type: "volume", action: "prune", actor: { id: "", attributes } });
  exchange.json(200, answer);
}

function refuseUpdate(): void {
  const why = "volume update only valid for cluster volumes, but swarm is unavailable";
  throw new Failure("unavailable", why);
}

export const routes: readonly Route[] = [
  ...copyRoutes,
  ["PUT", "/volumes/{id}", refuseUpdate],
  ["GET", "/volumes", list],
  ["POST", "/volumes/create", create],
  ["POST", "/volumes/prune", prune],
  ["GET", "/volumes/{id}", inspect],
  ["DELETE", "/volumes/{id}", remove],
];
