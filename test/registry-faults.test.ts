/** What breaks in the middle of a pull or a push: the wire, the client, the registry, the disk. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, dockerPath, TestEngine, whyNot } from "./engine.ts";
import { FaultProxy, OwnRegistry } from "./registry-peer.ts";

const timeoutMs = 90_000;
const layers = 3;
const layerBytes = 1_000_000;
const totalBytes = layers * layerBytes;

describe.skipIf(whyNot !== undefined)(
  `broken pulls and pushes${whyNot ? `: ${whyNot}` : ""}`,
  () => {
    let engine: TestEngine;
    let registry: OwnRegistry;
    let proxy: FaultProxy;
    const ok = (...args: string[]) => engine.ok(args);

    beforeAll(async () => {
      [engine, registry] = await Promise.all([TestEngine.open("regfault"), OwnRegistry.open()]);
      proxy = await FaultProxy.open(Number(registry.address.split(":")[1]));
      await engine.importBusybox();
    }, timeoutMs);

    afterAll(async () => {
      proxy?.close();
      await registry?.close();
      expect(await engine?.close()).toEqual([]);
    }, timeoutMs);

    /** An image of layers that do not compress, which nobody has seen. */
    async function build(name: string, on = engine): Promise<void> {
      const context = join(engine.folder, "noise");
      mkdirSync(context, { recursive: true });
      const lines = ["FROM busybox"];
      for (let count = 0; count < layers; count++) {
        writeFileSync(join(context, `noise-${count}`), randomBytes(layerBytes));
        lines.push(`COPY noise-${count} /noise-${count}`);
      }
      writeFileSync(join(context, "Dockerfile"), lines.join("\n"));
      await on.ok(["build", "-q", "-t", name, context]);
    }

    async function forget(name: string): Promise<void> {
      await ok("rmi", "-f", name);
      await ok("builder", "prune", "-af");
    }

    const whole = async (name: string) =>
      expect(await ok("run", "--rm", name, "wc", "-c", `/noise-${layers - 1}`)).toContain(
        String(layerBytes),
      );

    test(
      "a push whose wire breaks at any tenth of it comes to its end, and sends little twice",
      async () => {
        for (let tenth = 1; tenth <= 10; tenth++) {
          const name = `${proxy.address}/push:${tenth}`;
          await build(name);
          proxy.reset(((tenth - 0.1) / 10) * totalBytes);
          await ok("push", "-q", name);
          expect(proxy.breakAtBytes).toBeUndefined();
          // What was in the sockets is lost; what the registry has is not sent again.
          expect(proxy.sentBytes).toBeLessThan(2 * totalBytes);
          await forget(name);
          await ok("pull", "-q", name);
          await whole(name);
          await forget(name);
        }
      },
      timeoutMs,
    );

    test(
      "a pull whose wire breaks at any tenth of it comes to its end, and fetches little twice",
      async () => {
        const name = `${proxy.address}/pull:1`;
        await build(name);
        proxy.reset();
        await ok("push", "-q", name);
        await forget(name);
        for (let tenth = 1; tenth <= 10; tenth++) {
          proxy.reset(((tenth - 0.1) / 10) * totalBytes);
          await ok("pull", "-q", name);
          expect(proxy.breakAtBytes).toBeUndefined();
          expect(proxy.receivedBytes).toBeLessThan(1.7 * totalBytes);
          await whole(name);
          await forget(name);
        }
        expect(readdirSync(join(engine.folder, "data/image/partial"))).toEqual([]);
      },
      timeoutMs,
    );

    test(
      "a registry that is killed in the middle of a push has nothing wrong, and takes the rest",
      async () => {
        const name = `${proxy.address}/killed:1`;
        await build(name);
        proxy.reset();
        proxy.bytesPerSecond = undefined;
        const pushing = engine.docker(["push", name]);
        while (proxy.sentBytes < totalBytes / 2) await Bun.sleep(2);
        await registry.kill();
        await registry.start();
        await pushing; // it may have come through after all: the client tries again
        const before = proxy.sentBytes;
        await ok("push", "-q", name);
        expect(proxy.sentBytes - before).toBeLessThan(1.5 * totalBytes);
        await forget(name);
        await ok("pull", "-q", name);
        await whole(name);
        await forget(name);
      },
      timeoutMs,
    );

    test(
      "a client that is stopped ends the pull, and the next one goes on from the byte",
      async () => {
        const name = `${proxy.address}/stopped:1`;
        await build(name);
        proxy.reset();
        await ok("push", "-q", name);
        await forget(name);
        proxy.reset();
        proxy.bytesPerSecond = 2_000_000;
        const child = Bun.spawn([dockerPath!, "pull", name], {
          env: { ...process.env, ...engine.env },
          stdout: "ignore",
          stderr: "ignore",
        });
        while (proxy.receivedBytes < totalBytes / 2) await Bun.sleep(5);
        child.kill("SIGINT");
        await child.exited;
        // The engine notices, and asks for no more.
        let seen = -1;
        while (seen !== proxy.receivedBytes) {
          seen = proxy.receivedBytes;
          await Bun.sleep(300);
        }
        expect(seen).toBeLessThan(totalBytes);
        expect(await ok("images", "-q", name)).toBe("");
        proxy.bytesPerSecond = undefined;
        await ok("pull", "-q", name);
        expect(proxy.receivedBytes).toBeLessThan(1.5 * totalBytes);
        await whole(name);
        await forget(name);
      },
      timeoutMs,
    );

    test(
      "a full disk is said; the pull that has room again goes on",
      async () => {
        const name = `${proxy.address}/full:1`;
        await build(name);
        proxy.reset();
        await ok("push", "-q", name);
        await forget(name);
        const [image, mounted] = [join(engine.folder, "small.img"), join(engine.folder, "small")];
        const make = `truncate -s 24M ${image} && mkfs.ext4 -q ${image} && mkdir -p ${mounted} && mount -o loop ${image} ${mounted}`;
        expect((await command(["sh", "-c", make])).stderr).toBe("");
        const small = await TestEngine.open("regfull", [`--data-root=${mounted}/data`]);
        try {
          const ballast = join(mounted, "ballast");
          await command([
            "sh",
            "-c",
            `dd if=/dev/zero of=${ballast} bs=1M; truncate -s -3M ${ballast}`,
          ]);
          const full = await small.docker(["pull", name]);
          expect(full.code).not.toBe(0);
          expect(full.stderr.toLowerCase()).toContain("no space left");
          expect(await small.ok(["images", "-q"])).toBe("");
          rmSync(ballast);
          await small.ok(["pull", "-q", name]);
          expect(await small.ok(["run", "--rm", name, "wc", "-c", "/noise-0"])).toContain(
            "1000000",
          );
        } finally {
          await small.close();
          await command(["umount", mounted]);
        }
      },
      timeoutMs,
    );
  },
);
