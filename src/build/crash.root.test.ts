import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { runAny } from "../sys/mod.ts";
import { linesOf, requestOf } from "./fakes.ts";
import { openStores } from "./real-stores.ts";
import type { BuildEvent } from "./types.ts";

test("a daemon killed in the middle of a build leaves nothing but finished steps", async () => {
  const directory = mkdtempSync("/var/tmp/lading-crash-");
  const context = `${directory}/context`;
  mkdirSync(context);
  const naptime = `1000.${process.pid}`; // to find the command by
  const text = (last: string) => `FROM busybox\nRUN echo done > /done\nRUN ${last}`;
  writeFileSync(`${context}/Dockerfile`, text(`echo started; sleep ${naptime}`));
  const victim = Bun.spawn(
    [process.execPath, `${import.meta.dir}/victim.ts`, directory, "ladE2", context],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  for await (const chunk of victim.stdout) {
    if (Buffer.from(chunk).includes("started")) break;
  }
  victim.kill("SIGKILL");
  await victim.exited;
  const sleepers = async () => {
    const { stdout } = await runAny(["pgrep", "-f", `sleep ${naptime}`], { timeoutMs: 5_000 });
    return Buffer.from(stdout).toString().trim();
  };
  expect(await sleepers()).not.toBe(""); // else the test shows nothing

  const stores = await openStores(directory, "ladE2");
  try {
    const none = new Set<string>();
    await stores.runtime.reconcile(none);
    await stores.networks.reconcile(none);
    await stores.snapshots.reconcile(none);
    await stores.builder.reconcile();
    expect(await sleepers()).toBe("");
    expect(stores.snapshots.keys()).toEqual([]);
    expect(readdirSync(`${directory}/build/work`)).toEqual([]);
    const mounts = readFileSync("/proc/self/mountinfo", "utf8");
    expect(mounts.split("\n").filter((line) => line.includes(directory))).toEqual([]);

    writeFileSync(`${context}/Dockerfile`, text("cat /done"));
    const events: BuildEvent[] = [];
    await stores.builder.build(requestOf({ contextPath: context }), (event) => events.push(event));
    const lines = linesOf(events);
    expect(lines.filter((line) => line === "cached")).toHaveLength(1);
    expect(lines).toContain("out done\n");
  } finally {
    await stores.close();
    rmSync(directory, { recursive: true, force: true });
  }
}, 60_000);
