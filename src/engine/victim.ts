import { Failure, isFailure } from "../base/mod.ts";
import { request } from "./laboratory.ts";
import { importBusybox, openReal } from "./real.ts";

/**
 * For a test: a daemon that is busy with containers until it is killed.
 * Arguments: its directory and its bridge. Prints one line when it has put right what it found.
 */
const [directory = "", bridge = ""] = process.argv.slice(2);
const real = await openReal(directory, bridge);
const { engine, images } = real;
const done = await engine.reconcile();
if (!images.find("busybox:latest")) await importBusybox(real, directory);
if (!engine.list().some(({ name }) => name === "printer")) {
  const script = "n=0; while :; do n=$((n+1)); echo $n; usleep 500; done";
  const config = { Cmd: ["sh", "-c", script] };
  const { id } = await engine.create(
    request("printer", { config, hostConfig: { NetworkMode: "none" } }),
  );
  await engine.start(id);
}
process.stdout.write(`ready ${JSON.stringify(done)}\n`);

const { signal } = new AbortController();
const exec = { env: [], user: "", workingDir: "", privileged: false, tty: false, detachKeys: "" };
const streams = { attachStdin: false, attachStdout: false, attachStderr: false };

async function beBusy(number: number): Promise<never> {
  for (let turn = 0; ; turn++) {
    const isRemoved = turn % 2 === 0;
    const { id } = await engine.create(
      request(`busy-${number}`, {
        config: { Cmd: ["sleep", "0.05"], Volumes: { "/data": {} } },
        hostConfig: { AutoRemove: isRemoved, NetworkMode: number === 0 ? "none" : "bridge" },
      }),
    );
    const ended = engine.wait(id, isRemoved ? "removed" : "next-exit", signal);
    await engine.start(id);
    if (number === 0) {
      try {
        const execId = await engine.exec(id, { cmd: ["true"], ...exec, ...streams });
        await engine.execStart(execId, { detach: true, tty: false }, undefined);
      } catch (error) {
        if (!(error instanceof Failure)) throw error; // it may have ended already
      }
    }
    await ended;
    if (!isRemoved) await engine.remove(id, { force: true, volumes: true });
  }
}

// What an earlier daemon was doing holds the names: it is removed first.
for (const { id, name } of engine.list()) {
  if (!name.startsWith("busy-")) continue;
  try {
    await engine.remove(id, { force: true, volumes: true });
  } catch (error) {
    // A --rm container may end, and go, before its turn comes.
    if (!isFailure(error, "not_found") && !isFailure(error, "conflict")) throw error;
  }
}
while (engine.list().some(({ name }) => name.startsWith("busy-"))) await Bun.sleep(1);
await Promise.all([beBusy(0), beBusy(1), beBusy(2)]);
