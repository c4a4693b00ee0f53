import { Database } from "bun:sqlite";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { openContentStore } from "../content/mod.ts";
import { openImageStore } from "../image/mod.ts";
import { openNetworkStore } from "../network/mod.ts";
import { openRuntime } from "../runtime/mod.ts";
import { openSnapshotStore } from "../snapshot/mod.ts";
import { openVolumeStore } from "../volume/mod.ts";
import { openEngine } from "./engine.ts";

/** For tests that need root: an engine on the real stores, in a directory and on a bridge of its own. */
export async function openReal(directory: string, bridge: string) {
  mkdirSync(`${directory}/run`, { recursive: true });
  const database = new Database(`${directory}/lading.db`, { create: true });
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = NORMAL");
  const at = (folder: string) => ({ database, directory: `${directory}/${folder}` });
  const content = await openContentStore({ directory: `${directory}/content` });
  const snapshots = await openSnapshotStore(at("snapshot"));
  const runtime = await openRuntime({ directory: `${directory}/run/runtime`, program: "crun" });
  const networks = await openNetworkStore({ ...at("run/network"), bridge });
  const volumes = await openVolumeStore(at("volume"));
  const images = await openImageStore({ database, content, snapshots });
  const stores = { content, snapshots, runtime, networks, volumes, images };
  const engine = await openEngine({ ...at("engine"), ...stores });
  return {
    engine,
    ...stores,
    async close() {
      await engine.close();
      await networks.shutdown();
      await runtime.close();
      database.close();
    },
  };
}

export type Real = Awaited<ReturnType<typeof openReal>>;

/** Imports an image of busybox with two users, a folder with content and a link that leads out. */
export async function importBusybox({ images }: Real, directory: string): Promise<void> {
  const root = `${directory}/busybox`;
  rmSync(root, { recursive: true, force: true });
  for (const folder of ["bin", "etc", "tmp", "root", "data/inner"]) {
    mkdirSync(`${root}/${folder}`, { recursive: true });
  }
  cpSync(busyboxPath(), `${root}/bin/busybox`);
  const applets = spawnSync(busyboxPath(), ["--list"], { encoding: "utf8" }).stdout.split("\n");
  for (const name of applets) {
    if (name !== "" && name !== "busybox") symlinkSync("busybox", `${root}/bin/${name}`);
  }
  writeFileSync(`${root}/etc/passwd`, "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/tmp:/bin/sh\n");
  writeFileSync(`${root}/etc/group`, "root:x:0:\nwheel:x:10:root\nweb:x:102:\n");
  writeFileSync(`${root}/data/inner/file`, "from the image\n");
  writeFileSync(`${root}/etc/plain`, "not a program\n");
  symlinkSync("/../../../../../../etc", `${root}/outside`);
  const tar = `${directory}/busybox.tar`;
  const made = spawnSync("tar", ["-C", root, "-cf", tar, "."]);
  if (made.status !== 0) throw new Error(`tar failed: ${made.stderr}`);
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  await images.import(tar, {
    reference: "busybox:latest",
    changes: { Cmd: ["sh"], Env: ["PATH=/bin"] },
    message: "",
    platform: { os: "linux", architecture },
  });
}

function busyboxPath(): string {
  const path = ["/bin/busybox", "/usr/bin/busybox"].find((each) => existsSync(each));
  if (path) return path;
  throw new Error("These tests need busybox-static");
}
