/** The engine as a part of its host: settings, TLS, socket activation, metrics. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bindDatagrams, listenAt } from "../src/sys/mod.ts";
import { command, dockerPath, lading, root, TestEngine, whyNot } from "./engine.ts";

/** An authority, and certificates of it for a server at 127.0.0.1 and for a client; and a stranger's. */
const makeCertificates = `set -e; cd "$1"
key() {
  folder=$1; shift
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $folder/key.pem "$@" 2>/dev/null
}
mkdir -p ca server client other
key ca -x509 -out ca/cert.pem -days 2 -subj /CN=ca
key other -x509 -out other/cert.pem -days 2 -subj /CN=other
printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > extensions
for who in server client; do
  key $who -out $who/csr -subj /CN=$who
  openssl x509 -req -in $who/csr -CA ca/cert.pem -CAkey ca/key.pem -CAcreateserial -days 2 \\
    -extfile extensions -out $who/cert.pem 2>/dev/null
done
cp ca/cert.pem client/ca.pem; cp ca/cert.pem other/ca.pem`;

describe.skipIf(whyNot !== undefined)(`host${whyNot ? ` (skipped: ${whyNot})` : ""}`, () => {
  let engine: TestEngine;
  const pki = () => join(engine.folder, "pki");
  const write = (settings: object) =>
    writeFileSync(join(engine.folder, "daemon.json"), JSON.stringify(settings));
  const port = 18_641;
  const metricsPort = 18_642;

  beforeAll(async () => {
    engine = await TestEngine.open("host");
    await engine.importBusybox();
    await engine.end();
    mkdirSync(pki());
    const made = spawnSync("sh", ["-c", makeCertificates, "sh", pki()], { encoding: "utf8" });
    expect([made.status, made.stderr]).toEqual([0, ""]);
    write(settings({ debug: false, labels: ["role=test"] }));
    engine.extra = [`--config-file=${join(engine.folder, "daemon.json")}`];
    await engine.start();
  });
  afterAll(async () => {
    expect(await engine.close()).toEqual([]);
  });

  const settings = (more: object) => ({
    hosts: [engine.host, `tcp://127.0.0.1:${port}`],
    tlsverify: true,
    tlscacert: join(pki(), "ca/cert.pem"),
    tlscert: join(pki(), "server/cert.pem"),
    tlskey: join(pki(), "server/key.pem"),
    "metrics-addr": `127.0.0.1:${metricsPort}`,
    "default-ulimits": { nofile: { Name: "nofile", Soft: 1000, Hard: 2000 } },
    "default-shm-size": "8m",
    "fixed-cidr-v6": "fd00:77::/64",
    ipv6: true,
    iptables: true,
    ...more,
  });

  test("daemon.json: docker sees the settings, containers have them", async () => {
    expect(await engine.ok(["info", "-f", "{{.Labels}} {{.Debug}}"])).toBe("[role=test] false");
    const script =
      "ulimit -n; df -k /dev/shm | tail -1; ip -6 addr show eth0; grep NoNew /proc/self/status";
    const out = await engine.ok(["run", "--rm", "busybox", "sh", "-c", script]);
    expect(out).toMatch(/^1000\n/);
    expect(out).toMatch(/ 8192 /);
    expect(out).toContain("inet6 fd00:77::2/64");
    expect(out).toMatch(/NoNewPrivs:\s+0/);
    expect(engine.log).toContain('"iptables" has no effect');
  });

  test("SIGHUP: what may change changes, with an event; a bad file changes nothing", async () => {
    const since = String(Math.floor(Date.now() / 1000));
    const label = () => engine.ok(["info", "-f", "{{.Labels}} {{.Debug}}"]);
    const next = { labels: ["role=next"], debug: true, "no-new-privileges": true };
    write(settings({ ...next, "log-opts": { "max-size": "1m" } }));
    process.kill(engine.pid, "SIGHUP");
    while ((await label()) !== "[role=next] true") await Bun.sleep(20);
    const made = await engine.ok(["run", "-d", "busybox", "grep", "NoNew", "/proc/self/status"]);
    expect(await engine.ok(["inspect", "-f", "{{json .HostConfig.LogConfig}}", made])).toBe(
      '{"Type":"json-file","Config":{"max-size":"1m"}}',
    );
    await engine.ok(["wait", made]);
    expect(await engine.ok(["logs", made])).toMatch(/NoNewPrivs:\s+1/);
    write(settings({ lables: [] }));
    process.kill(engine.pid, "SIGHUP");
    while (!engine.log.includes("The settings stay as they were")) await Bun.sleep(20);
    expect(engine.log).toContain("unknown key");
    expect(await label()).toBe("[role=next] true");
    const until = String(Math.ceil(Date.now() / 1000) + 1);
    const events = await engine.ok([
      "events",
      "--since",
      since,
      "--until",
      until,
      "--filter",
      "type=daemon",
      "--format",
      "{{json .}}",
    ]);
    const reloads = events.split("\n").map((line) => JSON.parse(line) as { Action: string });
    expect(reloads.map(({ Action }) => Action)).toEqual(["reload"]);
    expect(events).toContain('"labels":"[\\"role=next\\"]"');
  });

  test("TLS: docker and lading come in with a certificate, nobody without", async () => {
    const as = (who: string) => ({
      env: {
        DOCKER_HOST: `tcp://127.0.0.1:${port}`,
        DOCKER_TLS_VERIFY: "1",
        DOCKER_CERT_PATH: join(pki(), who),
      },
    });
    for (const client of [dockerPath!, lading]) {
      const run = [client, "run", "-i", "--rm", "busybox", "wc", "-c"];
      const input = Buffer.alloc(300_000);
      expect(await command(run, { ...as("client"), input })).toEqual({
        code: 0,
        stdout: "300000\n",
        stderr: "",
      });
      expect((await command([client, "ps"], as("other"))).code).toBe(1);
      const plain = await command([client, "-H", `tcp://127.0.0.1:${port}`, "ps"]);
      expect(plain.code).toBe(1);
    }
    const bare = await command(["curl", "-sk", `https://127.0.0.1:${port}/_ping`]);
    expect([bare.code === 0, bare.stdout]).toEqual([false, ""]);
  });

  test("--validate judges without a start; TCP without TLS stays on loopback", async () => {
    const file = join(engine.folder, "daemon.json");
    const daemon = (...argv: string[]) => command([lading, "daemon", ...argv]);
    write(settings({}));
    expect((await daemon("--validate", "--config-file", file)).stdout).toBe("configuration OK\n");
    write({ "log-driver": "nowhere" });
    const bad = await daemon("--validate", "--config-file", file);
    expect([bad.code, bad.stderr]).toEqual([
      1,
      expect.stringContaining("no log driver named 'nowhere'"),
    ]);
    const frob = await daemon("--validate", "--default-runtime=frob");
    expect([frob.code, frob.stderr]).toEqual([1, expect.stringContaining("Install frob")]);
    const open = await daemon("--validate", "-H", "tcp://0.0.0.0:18643");
    expect([open.code, open.stderr]).toEqual([1, expect.stringContaining("--allow-plain-tcp")]);
  });

  test("metrics: Prometheus reads Docker's names, and what was done is counted", async () => {
    await engine.ok(["run", "--rm", "busybox", "true"]);
    const check = ["--health-cmd", "true", "--health-interval", "100ms"];
    await engine.ok(["run", "-d", "--name", "checked", ...check, "busybox", "sleep", "1000"]);
    const health = ["inspect", "-f", "{{.State.Health.Status}}", "checked"];
    while ((await engine.ok(health)) !== "healthy") await Bun.sleep(20);
    await engine.ok(["rm", "-f", "checked"]);
    const build = (dockerfile: string) => engine.docker(["build", "-"], { input: dockerfile });
    expect((await build("FROM scratch\nLABEL a=b\n")).code).toBe(0);
    expect((await build("FROM scratch\nNONSENSE\n")).code).toBe(1);
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const value = (name: string) =>
      Number(new RegExp(`^${name.replace(/[{}]/g, "\\$&")} (.*)$`, "m").exec(text)?.[1]);
    expect(value('engine_daemon_container_states_containers{state="running"}')).toBe(0);
    expect(value('engine_daemon_container_actions_seconds_count{action="start"}')).toBeGreaterThan(
      0,
    );
    expect(value("engine_daemon_events_total")).toBeGreaterThan(0);
    expect(value("engine_daemon_events_subscribers_total")).toBe(0);
    expect(value("engine_daemon_health_checks_total")).toBeGreaterThan(0);
    // One may have met the container's end.
    expect(value("engine_daemon_health_checks_failed_total")).toBeLessThanOrEqual(1);
    expect(value("engine_daemon_health_check_start_duration_seconds_count")).toBeGreaterThan(0);
    const networks = "engine_daemon_network_actions_seconds_count";
    expect(value(`${networks}{action="allocate"}`)).toBeGreaterThan(1);
    expect(value(`${networks}{action="release"}`)).toBeGreaterThan(1);
    expect(value("builder_builds_triggered_total")).toBe(2);
    const reason = 'builder_builds_failed_total{reason="unknown_instruction_error"}';
    expect(value(reason)).toBe(1);
    for (const line of text.trimEnd().split("\n")) {
      expect(line).toMatch(
        /^(# HELP \w+ \w.*|# TYPE \w+ (gauge|counter|histogram)|\w+(\{.*\})? [\d.e+-]+)$/,
      );
    }
  });

  test("socket activation: fd://, READY=1 to the supervisor, and lines of JSON as log", async () => {
    const socket = join(engine.folder, "activated.sock");
    const notify = join(engine.folder, "notify.sock");
    const listening = listenAt(socket);
    const told = bindDatagrams(notify);
    const folder = join(engine.folder, "activated");
    const script = `LISTEN_PID=$$ LISTEN_FDS=1 NOTIFY_SOCKET=${notify} exec "$@"`;
    const argv = [
      ...["--host=fd://", `--data-root=${folder}/data`, `--exec-root=${folder}/run`],
      ...["--bridge=ldt-host2", "--log-format=json", "--log-level=debug"],
    ];
    const child = Bun.spawn(["sh", "-c", script, "sh", lading, "daemon", ...argv], {
      stdio: ["ignore", "pipe", "pipe", listening],
      cwd: root,
    });
    const version = command([
      dockerPath!,
      "-H",
      `unix://${socket}`,
      "version",
      "-f",
      "{{.Server.Version}}",
    ]);
    expect((await version).code).toBe(0);
    closeSync(listening);
    const words = Buffer.alloc(100);
    readSync(told, words);
    expect(words.toString()).toStartWith("READY=1");
    closeSync(told);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
    for (const line of lines) expect(Object.keys(JSON.parse(line))).toContain("msg");
    spawnSync("ip", ["link", "delete", "ldt-host2"]);
    for (const family of ["ip", "ip6", "inet", "bridge"]) {
      spawnSync("nft", ["delete", "table", family, "lading-ldt-host2"]);
    }
    spawnSync("umount", ["-l", `${folder}/run/mount-view/ns`, `${folder}/run/mount-view`]);
  });
});
