/** What a container asks for beside its image: addresses, links, mounts that are not there yet, space. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, TestEngine, whyNot } from "./engine.ts";

const image = "busybox:latest";

describe.skipIf(whyNot !== undefined)(`wishes${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  let devices: string;

  beforeAll(async () => {
    devices = mkdtempSync(join(tmpdir(), "lading-devices-"));
    engine = await TestEngine.open("wishes", [
      "--host-gateway-ip=203.0.113.9",
      "--host-gateway-ip=2001:db8::9",
      "--bip=10.123.77.1/24",
      "--default-address-pool=base=10.124.0.0/16,size=26",
      "--default-address-pool=base=fd77:1::/48,size=64",
      "--default-gateway=10.123.77.9",
      `--cdi-spec-dir=${devices}`,
    ]);
    await engine.importBusybox();
  });
  afterAll(async () => {
    rmSync(devices, { recursive: true });
    expect(await engine.close()).toEqual([]);
  });

  test("the daemon's settings say the way out, the host's address and where devices are", async () => {
    expect(await engine.ok(["run", "--rm", image, "ip", "route"])).toContain(
      "default via 10.123.77.9",
    );
    const hosts = ["--add-host", "me:host-gateway", image, "grep", "me$", "/etc/hosts"];
    const lines = "203.0.113.9\tme\n2001:db8::9\tme";
    expect(await engine.ok(["run", "--rm", ...hosts])).toBe(lines);
    const dockerfile = "FROM busybox\nRUN grep me$ /etc/hosts > /me\nCMD cat /me\n";
    const build = ["build", "-q", "--add-host", "me:host-gateway", "-t", "me", "-"];
    await engine.ok(build, { input: dockerfile });
    expect(await engine.ok(["run", "--rm", "me"])).toBe(lines);
    const device = { name: "one", containerEdits: { env: ["DEVICE=one"] } };
    const spec = { cdiVersion: "0.6.0", kind: "test.example/thing", devices: [device] };
    writeFileSync(join(devices, "thing.json"), JSON.stringify(spec));
    const run = ["run", "--rm", "--device", "test.example/thing=one", image];
    expect(await engine.ok([...run, "sh", "-c", "echo $DEVICE"])).toBe("one");
    expect(await engine.ok(["info", "-f", "{{.CDISpecDirs}}"])).toBe(`[${devices}]`);
    const pools = await engine.ok(["info", "-f", "{{.DefaultAddressPools}}"]);
    expect(pools).toBe("[{10.124.0.0/16 26} {fd77:1::/48 64}]");
    await engine.ok(["network", "create", "--ipv6", "pooled"]);
    const subnets = "{{range .IPAM.Config}}{{.Subnet}} {{end}}";
    const pooled = await engine.ok(["network", "inspect", "-f", subnets, "pooled"]);
    expect(pooled).toMatch(/^10\.124\.0\.\d+\/26 fd77:1::\/64$/);
    await engine.ok(["network", "rm", "pooled"]);
  });

  test("link-local addresses are on the link, from run and from connect, and no others", async () => {
    await engine.ok(["network", "create", "local"]);
    const run = ["run", "--rm", "--network", "local", "--link-local-ip"];
    const shown = await engine.ok([...run, "169.254.7.7", image, "ip", "addr", "show", "eth0"]);
    expect(shown).toContain("inet 169.254.7.7/16");
    await engine.ok(["run", "-d", "--name", "both", image, "sleep", "1000"]);
    const addresses = ["--link-local-ip", "169.254.8.8", "--link-local-ip", "fe80::8:8"];
    await engine.ok(["network", "connect", ...addresses, "local", "both"]);
    const added = await engine.ok(["exec", "both", "ip", "addr", "show", "eth1"]);
    expect(added).toContain("inet 169.254.8.8/16");
    expect(added).toContain("inet6 fe80::8:8/64");
    const refused = await engine.docker([...run, "10.1.8.8", image, "true"]);
    expect([refused.code, refused.stderr]).toEqual([
      125,
      expect.stringContaining("invalid link-local IP address: 10.1.8.8"),
    ]);
    await engine.ok(["rm", "-f", "both"]);
    await engine.ok(["network", "rm", "local"]);
  });

  test("a process that exec adds has the variables of links that run", async () => {
    const target = ["run", "-d", "--name", "target", "--expose", "99", "-e", "COLOUR=red"];
    await engine.ok([...target, image, "sleep", "1000"]);
    await engine.ok([
      "run",
      "-d",
      "--name",
      "owner",
      "--link",
      "target:it",
      image,
      "sleep",
      "1000",
    ]);
    const env = await engine.ok(["exec", "-e", "IT_ENV_COLOUR=blue", "owner", "env"]);
    expect(env).toMatch(/^IT_PORT_99_TCP=tcp:\/\/[\d.]+:99$/m);
    expect(env).toContain("IT_NAME=/owner/it");
    expect(env.match(/IT_ENV_COLOUR=.*/g)).toEqual(["IT_ENV_COLOUR=blue"]);
    await engine.ok(["rm", "-f", "target"]);
    expect(await engine.ok(["exec", "owner", "env"])).not.toContain("IT_");
    await engine.ok(["rm", "-f", "owner"]);
  });

  test("cp reaches the volumes of a container that never started, and the folders above", async () => {
    const volume = ["-v", "kept:/not/there", "-v", `${engine.folder}/docker:/far/off`];
    await engine.ok(["create", "--name", "new", ...volume, image]);
    await engine.ok(["cp", "/etc/passwd", "new:/not/there/"]);
    await engine.ok(["cp", "/etc/group", "new:/not/"]);
    const list = join(engine.folder, "list.tar");
    await engine.ok(["cp", "new:/not", list]);
    const names = await command(["ls", "-R", list]);
    expect(names.stdout).toContain("group\nthere");
    expect(names.stdout).toContain("passwd");
    expect(await engine.ok(["diff", "new"])).toBe("A /not\nA /not/group");
    expect(await engine.ok(["run", "--rm", "-v", "kept:/v", image, "ls", "/v"])).toBe("passwd");
    await engine.ok(["rm", "-v", "new"]);
    await engine.ok(["volume", "rm", "kept"]);
  });

  test("events tell of an image's labels to the last, and rename's refusal says what failed", async () => {
    const since = String(Date.now() / 1000);
    const build = ["build", "-q", "-t", "told:1", "-"];
    await engine.ok(build, { input: "FROM scratch\nLABEL colour=blue\n" });
    await engine.ok(["rmi", "told:1"]);
    for (const name of ["first", "second"]) await engine.ok(["create", "--name", name, image]);
    const taken = await engine.docker(["rename", "first", "second"]);
    expect(taken.stderr).toContain(
      'Error when allocating new name: Conflict. The container name "/second" is already in use',
    );
    const bad = await engine.docker(["rename", "first", "a b"]);
    expect(bad.stderr).toContain("Error when allocating new name: Invalid container name (a b)");
    await engine.ok(["start", "-a", "first"]);
    await engine.ok(["rm", "first", "second"]);
    const until = String(Date.now() / 1000 + 0.1);
    const query = [
      "--since",
      since,
      "--until",
      until,
      "-f",
      "type=image",
      "-f",
      "label=colour=blue",
    ];
    const format = ["--format", "{{.Action}}"];
    expect(await engine.ok(["events", ...query, ...format])).toBe("tag\nuntag");
  });

  test("space is limited nowhere that cannot limit it, and options have names", async () => {
    const create = (option: string) =>
      engine.docker(["create", "--storage-opt", option, image, "true"]);
    expect((await create("size=10m")).stderr).toContain(
      "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    );
    expect((await create("colour=red")).stderr).toContain("Unknown option colour");
    const volume = await engine.docker(["volume", "create", "-o", "size=10m", "small"]);
    expect(volume.stderr).toContain("quota size requested but no quota support");
    const memory = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m"];
    await engine.ok(["volume", "create", ...memory, "memory"]);
    const fill = "dd if=/dev/zero of=/m/x bs=1k count=2048 2>&1 | grep -o 'No space left'";
    const full = await engine.ok(["run", "--rm", "-v", "memory:/m", image, "sh", "-c", fill]);
    expect(full).toBe("No space left");
    await engine.ok(["volume", "rm", "memory"]);
  });
});
