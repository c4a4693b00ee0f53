/** Compares what the engine knows with what the kernel has. It only looks; the next start mends. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Engine } from "./engine/mod.ts";
import type { NetworkStore } from "./network/mod.ts";
import type { SnapshotStore } from "./snapshot/mod.ts";

interface Finding {
  readonly level: "ok" | "warning" | "problem";
  readonly text: string;
  readonly hint?: string;
}

interface Audited {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly bridge: string;
  readonly engine: Engine;
  readonly networks: NetworkStore;
  readonly snapshots: SnapshotStore;
}

const hint = "Restart the daemon: it removes what nobody owns";

/** Findings on mounts, processes, links and directories; one line for each kind that agrees. */
export function audit(parts: Audited): { dataRoot: string; findings: Finding[] } {
  const running = parts.engine.list().filter(({ state }) => state.pid > 0);
  return {
    dataRoot: parts.dataRoot,
    findings: [
      compareProcesses(running),
      compareMounts(parts),
      compareLinks(parts, running.length),
      compareRunFolders(parts),
    ],
  };
}

/** The process of every running container must be there, and not be a zombie. */
function compareProcesses(running: readonly { id: string; state: { pid: number } }[]): Finding {
  const gone = running.filter(({ state }) => !isAlive(state.pid));
  if (gone.length === 0)
    return { level: "ok", text: `processes of ${running.length} running containers` };
  const ids = gone.map(({ id }) => id.slice(0, 12)).join(", ");
  return { level: "problem", text: `containers without a process: ${ids}`, hint };
}

function isAlive(pid: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/ns/mnt`); // fails for a zombie
    return true;
  } catch {
    return false; // it has ended
  }
}

/** Every overlay below the data root must belong to a snapshot. */
function compareMounts({ dataRoot, snapshots }: Audited): Finding {
  const mounted = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(" - overlay "))
    .map((line) => line.split(" ")[4]!)
    .filter((path) => path.startsWith(`${dataRoot}/snapshot/`));
  const known = snapshots.keys().length;
  if (mounted.length <= known) {
    return { level: "ok", text: `${mounted.length} overlay mounts for ${known} snapshots` };
  }
  return {
    level: "problem",
    text: `${mounted.length} overlay mounts for ${known} snapshots`,
    hint,
  };
}

/** The ports of the default bridge must be as many as the containers on it. */
function compareLinks({ bridge, networks }: Audited, running: number): Finding {
  const network = networks.resolve("bridge");
  const expected = networks.endpointsOf(network.id).size;
  const links = listFolder(`/sys/class/net/${bridge}/brif`);
  const text = `${links.length} links on ${bridge} for ${expected} containers on it (${running} run)`;
  return links.length <= expected + 1 // one may be made ahead of its container
    ? { level: "ok", text }
    : { level: "problem", text, hint };
}

/** Every folder of the runtime must belong to a container. */
function compareRunFolders({ execRoot, engine }: Audited): Finding {
  const ids = new Set(engine.list().map(({ id }) => id));
  const orphans = listFolder(`${execRoot}/runtime`).filter(
    (name) => /^[0-9a-f]{64}$/.test(name) && !ids.has(name),
  );
  if (orphans.length === 0) return { level: "ok", text: "no run folder without a container" };
  return { level: "problem", text: `run folders without a container: ${orphans.join(", ")}`, hint };
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // not made yet
  }
}
