/** The real stores on one directory, for tests that need root, and an image to build from. */
import { Database } from "bun:sqlite";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { openContentStore } from "../content/mod.ts";
import { openImageStore } from "../image/mod.ts";
import { openNetworkStore } from "../network/mod.ts";
import { hostPlatform } from "../oci/mod.ts";
import { openRuntime } from "../runtime/mod.ts";
import { openSnapshotStore, packTar } from "../snapshot/mod.ts";
import { run } from "../sys/mod.ts";
import { openBuilder } from "./builder.ts";

export type Stores = Awaited<ReturnType<typeof openStores>>;

/** Opens all that a builder stands on. `bridge` is unique to the test. */
export async function openStores(directory: string, bridge: string) {
  const database = new Database(`${directory}/state.sqlite`);
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = NORMAL");
  database.run("PRAGMA busy_timeout = 5000");
  const content = await openContentStore({ directory: `${directory}/content` });
  const snapshots = await openSnapshotStore({ directory: `${directory}/snapshot`, database });
  const images = await openImageStore({ database, content, snapshots });
  const runtime = await openRuntime({ directory: `${directory}/runtime`, program: "crun" });
  const networks = await openNetworkStore({
    database,
    directory: `${directory}/network`,
    bridge,
  });
  const joined = { content, images, snapshots, runtime, networks };
  const builder = await openBuilder({ database, directory: `${directory}/build`, ...joined });
  const close = async () => {
    await networks.shutdown();
    await runtime.close();
    for (const key of snapshots.keys()) await snapshots.remove(key);
    database.close();
  };
  return { directory, ...joined, builder, close };
}

/** Puts `busybox` into the image store: Debian's static busybox, a root and a user `app`. */
export async function importBusybox({ directory, images }: Stores): Promise<void> {
  const root = `${directory}/busybox`;
  for (const name of ["bin", "etc", "tmp"]) mkdirSync(`${root}/${name}`, { recursive: true });
  chmodSync(`${root}/tmp`, 0o1777);
  copyFileSync("/bin/busybox", `${root}/bin/busybox`);
  const applets = await run(["busybox", "--list"], { timeoutMs: 5_000 });
  for (const name of applets.trim().split("\n")) {
    if (name !== "busybox") symlinkSync("busybox", `${root}/bin/${name}`);
  }
  const people = ["root:x:0:0::/root:/bin/sh", "app:x:1000:1000::/home/app:/bin/sh", ""];
  writeFileSync(`${root}/etc/passwd`, people.join("\n"));
  writeFileSync(`${root}/etc/group`, "root:x:0:\napp:x:1000:\n");
  const archive = `${directory}/busybox.tar`;
  const writer = Bun.file(archive).writer();
  for await (const chunk of packTar(root)) await writer.write(chunk);
  await writer.end();
  await images.import(archive, {
    reference: "busybox:latest",
    changes: { Cmd: ["sh"] },
    message: "",
    platform: hostPlatform(),
  });
}
