/** Work with registries from the command line: credentials, manifests, copies. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { lading, TestEngine, whyNot } from "./engine.ts";
import { PeerRegistry, whyNoPeer } from "./registry-peer.ts";

const why = whyNot ?? whyNoPeer;
const timeoutMs = 60_000;

describe.skipIf(why !== undefined)(
  `registries from the command line${why ? `: ${why}` : ""}`,
  () => {
    let engine: TestEngine;
    let peer: PeerRegistry;

    beforeAll(async () => {
      [engine, peer] = await Promise.all([TestEngine.open("regcli"), PeerRegistry.open()]);
      await engine.importBusybox();
    }, timeoutMs);

    afterAll(async () => {
      await peer?.close();
      expect(await engine?.close()).toEqual([]);
    }, timeoutMs);

    test(
      "lading login keeps the password encrypted, and the docker client reads it",
      async () => {
        const guarded = await PeerRegistry.open({ alice: "secret word" });
        try {
          const config = join(engine.folder, "vault");
          const env = {
            DOCKER_CONFIG: config,
            LADING_CREDENTIALS_KEY: join(engine.folder, "key"),
            PATH: `${dirname(lading)}:${process.env["PATH"]}`,
          };
          const name = `${guarded.address}/app:1`;
          await engine.ok(["tag", "busybox", name]);
          const login = (input: string, ...flags: string[]) =>
            engine.lading(["login", ...flags, "-u", "alice", "--password-stdin", guarded.address], {
              input,
              env,
            });
          expect((await login("wrong")).stderr).toContain("unauthorized");
          expect(existsSync(join(config, "config.json"))).toBe(false);
          const { stdout, stderr } = await login("secret word");
          expect(stdout).toContain("Login Succeeded");
          expect(stderr).toContain("stored encrypted");
          expect(readFileSync(join(config, "config.json"), "utf8")).not.toContain('auth":');
          for (const client of ["docker", "lading"] as const) {
            const { code } = await engine[client](["push", name], { env });
            expect(code).toBe(0);
          }
          const logout = await engine.docker(["logout", guarded.address], { env });
          expect(logout.stdout).toContain("Removing login credentials");
          expect((await engine.lading(["push", name], { env })).stderr).toContain("unauthorized");
          expect((await login("secret word", "--plain-text")).stderr).toContain("unencrypted");
          expect((await engine.docker(["push", name], { env })).code).toBe(0);
        } finally {
          await guarded.close();
        }
      },
      timeoutMs,
    );
  },
);
