/** The endpoints, ours, that copy volumes: clone, export, import, rename and snapshots. */
import { Failure } from "../base/mod.ts";
import { packTar, unpackTar } from "../snapshot/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { sendTar } from "./route-archive.ts";
import { tellVolume, volumeAnswer } from "./route-volumes.ts";
import type { Route } from "./router.ts";

type Parameters = readonly string[];

function required(exchange: Exchange, name: string): string {
  const value = exchange.query.get(name) ?? "";
  if (value !== "") return value;
  throw new Failure("invalid", `bad parameter: "${name}" cannot be empty`);
}

/**
 * Runs `task` while no container writes to a volume. With `running=refuse` (the default) it fails when
 * one may, with `pause` those are frozen for so long, with `live` they write on.
 */
async function whileStill<T>(
  exchange: Exchange,
  { engine }: Context,
  { name, task }: { name: string; task: () => Promise<T> },
): Promise<T> {
  const mode = exchange.query.get("running") || "refuse";
  if (!["refuse", "pause", "live"].includes(mode)) {
    throw new Failure("invalid", `bad parameter: "running" is ${mode.slice(0, 100)}`, {
      hint: 'Use "refuse", "pause" or "live"',
    });
  }
  const writers = engine.list().filter(({ state, mounts }) => {
    const isWritten = mounts.some(({ Name, RW }) => Name === name && RW);
    return isWritten && state.status === "running";
  });
  if (mode === "live" || writers.length === 0) return await task();
  if (mode === "refuse") {
    const names = writers.map((writer) => writer.name).join(", ");
    throw new Failure("conflict", `volume ${name} is written to by running containers: ${names}`, {
      hint: "Stop them, freeze them with --pause, or copy what changes meanwhile with --live",
    });
  }
  const paused: string[] = [];
  try {
    for (const { id } of writers) {
      await engine.pause(id);
      paused.push(id);
    }
    return await task();
  } finally {
    // One that was killed or removed meanwhile needs it no more.
    await Promise.allSettled(paused.map((id) => engine.unpause(id)));
  }
}

async function clone(exchange: Exchange, context: Context, [name = ""]: Parameters) {
  const { volumes, engine } = context;
  const to = required(exchange, "to");
  const { labels } = await volumes.inspect(name);
  const task = () =>
    volumes.withFiles(name, (directory) =>
      volumes.createFilled({ name: to, labels }, volumes.copyOf(directory)),
    );
  const volume = await whileStill(exchange, context, { name, task });
  tellVolume(engine, "create", volume);
  exchange.json(201, volumeAnswer(volume));
}

async function exportTar(exchange: Exchange, context: Context, [name = ""]: Parameters) {
  const { volumes } = context;
  await volumes.inspect(name);
  const send = (directory: string) =>
    sendTar(exchange, packTar(directory, { withRoot: true, nanoseconds: true }));
  const task = () => volumes.withFiles(name, send);
  await whileStill(exchange, context, { name, task });
}

/** The archive may be compressed; one that is cut short, or leads out of the volume, makes none. */
async function importTar(exchange: Exchange, { volumes, engine }: Context): Promise<void> {
  const name = exchange.query.get("name") ?? "";
  const rules = { setRoot: true, end: "required", signal: exchange.signal } as const;
  const volume = await volumes.createFilled(name === "" ? {} : { name }, (directory) =>
    unpackTar(exchange.body(), directory, rules),
  );
  tellVolume(engine, "create", volume);
  exchange.json(201, volumeAnswer(volume));
}

async function rename(exchange: Exchange, { volumes, engine }: Context, [name = ""]: Parameters) {
  const volume = await volumes.rename(name, required(exchange, "name"));
  tellVolume(engine, "rename", volume, { oldName: name });
  exchange.json(200, volumeAnswer(volume));
}

function snapshots(exchange: Exchange, { volumes }: Context, [name = ""]: Parameters): void {
  const list = volumes.snapshots(name);
  exchange.json(
    200,
    list.map(({ name: Name, createdAt: CreatedAt }) => ({ Name, CreatedAt })),
  );
}

async function takeSnapshot(exchange: Exchange, context: Context, [name = ""]: Parameters) {
  const { volumes, engine } = context;
  const asked = exchange.query.get("name") || new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const task = () => volumes.takeSnapshot(name, asked);
  const snapshot = await whileStill(exchange, context, { name, task });
  tellVolume(engine, "snapshot", volumes.get(name), { snapshot: asked });
  exchange.json(201, { Name: snapshot.name, CreatedAt: snapshot.createdAt });
}

async function restoreSnapshot(
  exchange: Exchange,
  { volumes, engine }: Context,
  [name = "", snapshot = ""]: Parameters,
): Promise<void> {
  await volumes.restoreSnapshot(name, snapshot);
  tellVolume(engine, "restore", volumes.get(name), { snapshot });
  exchange.empty(204);
}

async function removeSnapshot(
  exchange: Exchange,
  { volumes }: Context,
  [name = "", snapshot = ""]: Parameters,
): Promise<void> {
  await volumes.removeSnapshot(name, snapshot);
  exchange.empty(204);
}

export const copyRoutes: readonly Route[] = [
  ["POST", "/volumes/import", importTar],
  ["POST", "/volumes/{id}/clone", clone],
  ["GET", "/volumes/{id}/export", exportTar],
  ["POST", "/volumes/{id}/rename", rename],
  ["GET", "/volumes/{id}/snapshots", snapshots],
  ["POST", "/volumes/{id}/snapshots", takeSnapshot],
  ["POST", "/volumes/{id}/snapshots/{name}/restore", restoreSnapshot],
  ["DELETE", "/volumes/{id}/snapshots/{name}", removeSnapshot],
];
