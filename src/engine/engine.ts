import type { Database } from "bun:sqlite";
import { mkdir } from "node:fs/promises";
import { Failure, KeyedLock } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { Attachers, attach, readLogs } from "./attach.ts";
import { Borrowed } from "./borrow.ts";
import { commit } from "./commit.ts";
import { copyIn, copyOut, exportRoot, statPath } from "./copy.ts";
import { Background, type Core, type Stores } from "./core.ts";
import { create } from "./create.ts";
import type { ContainerDefaults } from "./defaults.ts";
import { EventJournal } from "./event-journal.ts";
import { Events } from "./events.ts";
import { createExec, resizeExec, startExec } from "./exec.ts";
import { Execs } from "./exec-table.ts";
import { unlink } from "./links.ts";
import { mountTargets } from "./mounts.ts";
import { prune } from "./prune.ts";
import { reconcile } from "./reconcile.ts";
import { Records } from "./records.ts";
import { remove } from "./remove.ts";
import { connect, disconnect, endpointsOf } from "./sandbox.ts";
import { start } from "./start.ts";
import { stats } from "./stats.ts";
import { kill, pause, requireLive, restart, stop, unpause } from "./stop.ts";
import { Tally } from "./tally.ts";
import { top } from "./top.ts";
import type { Container, Engine } from "./types.ts";
import { update } from "./update.ts";
import { hostUsers, type Users } from "./users.ts";
import { Waiters, type WaitResult } from "./waiters.ts";
import { why } from "./why.ts";

export interface EngineOptions extends Stores {
  readonly database: Database;
  /** For the logs of containers. */
  readonly directory: string;
  /** The OCI runtime, as `--runtime` names it. Default: crun. */
  readonly runtimeName?: string;
  /** Names of others that a container may ask for. */
  readonly runtimeNames?: readonly string[];
  /** What holds for containers that do not say it themselves; asked at each `create`. */
  readonly defaults?: () => ContainerDefaults;
  /** Default: all have the host's. */
  readonly users?: Users;
}

/** Opens the engine. Call `reconcile` before anything else. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { database, ...stores } = options;
  await mkdir(`${options.directory}/logs`, { recursive: true, mode: 0o710 });
  const core: Core = {
    ...stores,
    runtimeName: options.runtimeName ?? "crun",
    runtimeNames: options.runtimeNames ?? [],
    defaults: options.defaults ?? (() => ({})),
    users: options.users ?? hostUsers,
    records: new Records(database, options.directory),
    events: new Events(new EventJournal(`${options.directory}/events`)),
    tally: new Tally(),
    waiters: new Waiters(),
    attachers: new Attachers(),
    execs: new Execs(database),
    locks: new KeyedLock(),
    live: new Map(),
    restarts: new Map(),
    removing: new Set(),
    forwardings: new Map(),
    borrowed: new Borrowed(),
    background: new Background(),
  };
  core.images.onEvent((action, id, name) => {
    const labels = core.images.find(id)?.config.config?.Labels;
    core.events.emit({ type: "image", action, actor: { id, attributes: { ...labels, name } } });
  });
  const { tally } = core;
  tally.eventReaders = () => core.events.readers;
  return { tally, ...lifecycle(core), ...streams(core), ...stock(core) };
}

function lifecycle(core: Core) {
  return {
    expect: () => core.runtime.expect(),
    list: () => core.records.list(),
    resolve: (nameOrId) => core.records.resolve(nameOrId),
    sandbox: (id) => core.networks.sandbox(id),
    endpoints: (id) => endpointsOf(core, core.records.get(id)),
    create: (request) => create(core, request),
    start: (id) => start(core, id),
    stop: (id, options) => stop(core, id, options),
    restart: (id, options) => restart(core, id, options),
    kill: (id, signal) => kill(core, id, signal),
    pause: (id) => pause(core, id),
    unpause: (id) => unpause(core, id),
    rename: (id, name) => rename(core, id, name),
    update: (id, request) => update(core, id, request),
    remove: (id, options) => remove(core, id, options),
    lastExit: (id) => core.waiters.gone(id),
    wait: (id, condition, signal) => wait(core, id, { condition, signal }),
    reconcile: () => reconcile(core),
    close: () => close(core),
  } satisfies Partial<Engine>;
}

function streams(core: Core) {
  return {
    attach: (id, request, attachment) => attach(core, id, request, attachment),
    logs: (id, query) => readLogs(core, id, query),
    resize: async (id, rows, columns) => {
      requireLive(core, id).process.resize(rows, columns);
      const size = { height: String(rows), width: String(columns) };
      core.events.container(core.records.get(id), "resize", size);
    },
    exec: async (id, request) => createExec(core, id, request),
    execStart: (execId, options, attachment) => startExec(core, execId, options, attachment),
    execResize: (execId, rows, columns) => resizeExec(core, execId, rows, columns),
    execInspect: (execId) => core.execs.inspect(execId),
    events: (query) => core.events.read(query),
    emit: (event) => core.events.emit(event),
  } satisfies Partial<Engine>;
}

function stock(core: Core) {
  return {
    top: (id, psArgs) => top(core, id, psArgs),
    changes: async (id) => {
      const mountPoints = mountTargets(core.records.inside(id).mounts);
      return await core.snapshots.changes(id, { mountPoints });
    },
    size: async (id) => await core.snapshots.usage(core.records.get(id).id),
    stats: (id) => stats(core, id),
    statPath: (id, path) => statPath(core, id, path),
    readArchive: (id, path) => copyOut(core, id, path),
    writeArchive: (id, path, tar, options) => copyIn(core, id, { path, tar, ...options }),
    export: (id) => exportRoot(core, id),
    commit: (id, options) => commit(core, id, options),
    removeImage: async (reference, options) => {
      return await core.images.remove(reference, {
        ...options,
        users: (id) => imageUsers(core, id),
      });
    },
    imageUsers: (id) => imageUsers(core, id),
    prune: (filters, options) => prune(core, filters, options),
    why: (from, to) => why(core, from, to),
    unlink: (owner, alias) => unlink(core, owner, alias),
    connect: (networkId, id, endpoint) => connect(core, networkId, id, endpoint),
    disconnect: (networkId, id, _force) => disconnect(core, networkId, id),
  } satisfies Partial<Engine>;
}

function rename(core: Core, id: string, wanted: string): Promise<void> {
  return core.locks.run(id, () => {
    const { name: old } = core.records.get(id);
    if (wanted === "" || wanted === "/") {
      throw new Failure("invalid", "Neither old nor new names may be empty");
    }
    if (wanted.replace(/^\//, "") === old) {
      throw new Failure("invalid", "Renaming a container with the same name as its current name");
    }
    const container = takeName(core, id, wanted);
    core.networks.rename(id, container.name);
    core.events.container(container, "rename", { oldName: `/${old}` });
  });
}

function takeName(core: Core, id: string, wanted: string): Container {
  try {
    return core.records.rename(id, wanted);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { code, message, hint } = error;
    const said = `Error when allocating new name: ${message}`;
    throw new Failure(code, said, { cause: error, ...(hint ? { hint } : {}) });
  }
}

type Waiting = { condition: Parameters<Engine["wait"]>[1]; signal: AbortSignal };

async function wait(core: Core, id: string, { condition, signal }: Waiting): Promise<WaitResult> {
  const { state } = core.records.get(id);
  const isOver = !core.live.has(id) && !core.restarts.has(id);
  if (condition === "not-running" && isOver) {
    return { exitCode: state.exitCode, ...(state.error ? { error: state.error } : {}) };
  }
  return await core.waiters.wait(id, condition === "removed", signal);
}

function imageUsers(core: Core, image: Digest): { id: string; running: boolean }[] {
  return core.records
    .all()
    .filter(({ container }) => container.imageId === image)
    .map(({ container: { id } }) => ({ id, running: core.live.has(id) }));
}

/** Containers run on; what was begun behind is finished. */
async function close(core: Core): Promise<void> {
  core.background.isClosing = true;
  for (const callOff of [...core.restarts.values()]) callOff();
  for (const live of core.live.values()) live.health?.stop();
  for (const forwarding of core.forwardings.values()) forwarding.stop();
  await core.background.close();
  core.events.close();
}
