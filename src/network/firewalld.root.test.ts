/** With a firewalld of the test's own, on a message bus of its own, in a network namespace. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { run, runAny } from "../sys/mod.ts";
import {
  fetchHere,
  fetchInside,
  hostAddress,
  isOutOfReach,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  outsideAddress,
  sandboxSpec,
  until,
} from "./laboratory.ts";
import type { NetworkStore, Sandbox } from "./types.ts";

const absent = ["firewalld", "firewall-cmd", "dbus-daemon"].filter((name) => !Bun.which(name));
const whyNot =
  process.getuid?.() !== 0
    ? "needs root"
    : absent.length > 0
      ? `needs ${absent.join(", ")}`
      : undefined;

/** A bus where everybody may do everything: nobody but the test knows its socket. */
const busText = (socket: string) => `<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>`;

describe.skipIf(whyNot !== undefined)(`firewalld${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  let web: Sandbox;
  const path = process.env["PATH"] ?? "";
  const port = { containerPort: 80, protocol: "tcp", hostIp: "", hostPort: 8080 } as const;

  const ask = (...words: string[]) => run(["firewall-cmd", ...words], { timeoutMs: 20_000 });
  const trusted = async () => (await ask("--zone=trusted", "--list-interfaces")).trim();

  beforeAll(async () => {
    laboratory = await openLaboratory();
    const { folder } = laboratory;
    mkdirSync(`${folder}/firewalld`);
    writeFileSync(`${folder}/bus.conf`, busText(`${folder}/bus`));
    const bus = `DBUS_SYSTEM_BUS_ADDRESS=unix:path=${folder}/bus`;
    // The engine asks the host's firewalld; here, by a program of the same name, the test's own.
    const client = `#!/bin/sh\n${bus} exec ${Bun.which("firewall-cmd")} "$@"\n`;
    writeFileSync(`${folder}/firewall-cmd`, client, { mode: 0o755 });
    process.env["PATH"] = `${folder}:${path}`;
    laboratory.spawn(["dbus-daemon", `--config-file=${folder}/bus.conf`, "--nofork"]);
    await until(() => existsSync(`${folder}/bus`));
    const places = [`--system-config=${folder}/firewalld`, `--log-file=${folder}/firewalld.log`];
    laboratory.spawn(["env", bus, "firewalld", "--nofork", "--nopid", ...places]);
    await until(async () => {
      const asked = await runAny(["firewall-cmd", "--state"], { timeoutMs: 20_000 });
      return asked.exitCode === 0;
    });
    await laboratory.serve(laboratory.outside.path, 80, "outside");
    store = await laboratory.open();
    web = await store.open(sandboxSpec({ ports: [port] }));
    await laboratory.serve(web.netnsPath, 80, "web");
    await laboratory.serve("/proc/thread-self/ns/net", 81, "host");
  });

  afterAll(async () => {
    await store.close(web.containerId);
    await store.shutdown();
    const [zone, left] = [await trusted(), await leftovers()];
    process.env["PATH"] = path;
    await laboratory[Symbol.asyncDispose]();
    expect([zone, left]).toEqual(["", "table inet firewalld"]);
  });

  for (const zone of ["drop", "block", "public"]) {
    test(`containers reach the outside and the host, and are reached, in zone ${zone}`, async () => {
      await ask(`--set-default-zone=${zone}`);
      const { gateway } = web.endpoints[0]!;
      expect(await fetchInside(web.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
      expect(await fetchInside(web.netnsPath, `http://${gateway}:81/`)).toBe("host");
      expect(await fetchInside(laboratory.outside.path, `http://${hostAddress}:8080/`)).toBe("web");
      expect(await fetchHere("http://127.0.0.1:8080/")).toBe("web");
      expect(await isOutOfReach(laboratory.outside.path, `http://${hostAddress}:81/`)).toBe(true);
    });
  }

  test("a network's bridge is in the zone from its creation to its removal", async () => {
    const { bridge } = laboratory;
    await store.create(networkSpec("other", options("ldfw-other")));
    expect((await trusted()).split(" ").sort()).toEqual([bridge, "ldfw-other"]);
    await store.remove("other");
    expect(await trusted()).toBe(bridge);
  });

  test("a bridge in a zone of the administrator's choice stays there", async () => {
    await ask("--zone=internal", "--add-interface=ldfw-mine");
    await store.create(networkSpec("mine", options("ldfw-mine")));
    expect(await trusted()).not.toContain("ldfw-mine");
    expect(await ask("--zone=internal", "--list-interfaces")).toContain("ldfw-mine");
    await store.remove("mine");
    await ask("--zone=internal", "--remove-interface=ldfw-mine");
  });

  test("bridges are back when firewalld has read its configuration again", async () => {
    await ask("--reload");
    await until(async () => (await trusted()) === laboratory.bridge);
    expect(await fetchInside(web.netnsPath, `http://${outsideAddress}/`)).toBe("outside");
  });
});

const options = (bridge: string) => ({ options: { "com.docker.network.bridge.name": bridge } });
