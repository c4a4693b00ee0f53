import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

const isRoot = process.getuid?.() === 0;

test.skipIf(!isRoot)("a configuration that cannot be written is read", () => {
  const folder = mkdtempSync(`${tmpdir()}/lading-config-`);
  try {
    writeFileSync(`${folder}/config.json`, '{"currentContext":"elsewhere"}');
    const readOnly = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';
    const main = new URL("../main.ts", import.meta.url).pathname;
    const command = [process.execPath, main, "context", "show"];
    const { DOCKER_HOST: _host, DOCKER_CONTEXT: _context, ...env } = process.env;
    const ran = Bun.spawnSync(["unshare", "-m", "sh", "-c", readOnly, folder, ...command], {
      env: { ...env, DOCKER_CONFIG: folder },
    });
    expect(ran.stderr.toString()).toBe("");
    expect(ran.stdout.toString()).toBe("elsewhere\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
