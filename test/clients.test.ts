/** Client libraries that others wrote, each main verb once; their scripts are in `clients/`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

const folder = join(import.meta.dir, "clients");
const noNode = existsSync(join(folder, "node_modules/dockerode")) ? undefined : "needs dockerode";
const python = "/usr/bin/python3"; // Debian's own, which sees Debian's python3-docker
const noPython = existsSync("/usr/lib/python3/dist-packages/docker")
  ? undefined
  : "needs python3-docker";
const because = (why: string | undefined) => (why ? ` (skipped: ${why})` : "");

describe.skipIf(whyNot !== undefined)(`client libraries${because(whyNot)}`, () => {
  let engine: TestEngine;
  const seenBy = async (argv: readonly string[]): Promise<unknown> => {
    const ran = await command(argv, { cwd: folder });
    if (ran.code !== 0) throw new Error(`${argv.join(" ")}: ${ran.stderr}\n${engine.log}`);
    return JSON.parse(ran.stdout);
  };

  beforeAll(async () => {
    engine = await TestEngine.openUnrecorded("clients");
    await engine.importBusybox();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  test.skipIf(noNode !== undefined)(`dockerode does the main job${because(noNode)}`, async () => {
    expect(await seenBy(["node", "dockerode.mjs", engine.host.replace("unix://", "")])).toEqual({
      ping: "OK",
      run: 3,
      attach: "to and fro",
      wait: 0,
      logs: "to and fro",
      port: true,
      exec: "in",
      execCode: 6,
      archive: "busybox",
      list: 1,
      load: true,
      build: "Successfully tagged built:latest",
      absent: 404,
    });
  });

  test.skipIf(noNode !== undefined)(
    `dockerode makes, joins and removes networks and volumes${because(noNode)}`,
    async () => {
      const socket = engine.host.replace("unix://", "");
      expect(await seenBy(["node", "dockerode_networks.mjs", socket])).toEqual({
        taken: 409,
        listed: ["dn"],
        subnet: "10.216.7.64",
        absent: 404,
        volume: ["dv", "one"],
        volumes: 1,
        noVolume: 404,
        inUse: 409,
        address: "10.216.7.9",
        there: 1,
        busy: 403,
        gone: 0,
        hostRefused: 400,
        df: 1,
        kept: [],
        pruned: ["dn"],
        volumesPruned: ["dv"],
        info: ["linux", "linux"],
        events: [
          "network create",
          "volume create",
          "volume mount",
          "network connect",
          "network disconnect",
          "volume unmount",
          "network prune",
          "network destroy",
          "network prune",
          "volume destroy",
          "volume prune",
        ],
      });
    },
  );

  test.skipIf(noPython !== undefined)(
    `docker-py does the main job${because(noPython)}`,
    async () => {
      expect(await seenBy([python, "docker_py.py", engine.host])).toEqual({
        ping: true,
        run: "hi\n",
        run_failed: [3, "no\n"],
        followed: "one",
        inspected: ["running", "m", "127.0.0.1"],
        exec: [4, "o\n", "e\n"],
        archive: [3, "xyz"],
        top: 1,
        stats: "/web",
        load: [["committed:latest"]],
        wait: 137,
        build: { a: "b" },
        build_failed: true,
        absent: 404,
      });
    },
  );

  test("a quiet build that fails tells what it had kept to itself", async () => {
    const dockerfile = "FROM busybox\nRUN echo before; exit 3\n";
    const ran = await engine.docker(["build", "-q", "-"], { input: dockerfile });
    expect(ran.code).toBe(3);
    expect(ran.stdout + ran.stderr).toContain("before\n");
  });

  test("a container has the link to its mounts, which is no change of its own", async () => {
    const show = ["run", "--name=mounts", "busybox", "readlink", "/etc/mtab"];
    expect(await engine.ok(show)).toBe("/proc/mounts");
    expect(await engine.ok(["diff", "mounts"])).toBe("");
    await engine.ok(["rm", "mounts"]);
  });
});
