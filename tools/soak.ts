/**
 * `npm run soak -- --seconds N --seed S`: eight clients give an engine random commands, the daemon is
 * killed (`kill -9`) every few seconds, and at the end kernel, files and database must agree, and no
 * line of output and no exit code may be missing. The same seed gives each client the same commands.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Ran, TestEngine } from "../test/engine.ts";
import { disagreements, linksOf, readRecords } from "./soak-network.ts";

const clients = 8;
const commandMs = 60_000;

/** Small, fast and the same everywhere: mulberry32. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}

/** A container whose end is known beforehand. */
interface Promised {
  readonly name: string;
  readonly lines: number;
  readonly code: number;
}

class Soak {
  readonly engine: TestEngine;
  readonly problems: string[] = [];
  readonly promised: Promised[] = [];
  readonly counts = new Map<string, number>();
  /** Links that the engine had: all must be gone with it. */
  readonly links = new Set<string>();
  untilMs = 0;
  kills = 0;

  constructor(engine: TestEngine) {
    this.engine = engine;
  }

  /** Runs a command; that the daemon was away is no failure. */
  async docker(...args: string[]): Promise<Ran> {
    const ran = await this.engine.docker(args, { timeoutMs: commandMs });
    const name = args[0]!;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    if (/Cannot connect|connection refused|EOF/i.test(ran.stderr)) await Bun.sleep(200); // it was killed
    // 137 is what a client that hung got from us.
    if (ran.code === 137 && name !== "run") this.problems.push(`hung: docker ${args.join(" ")}`);
    if (/internal|assert|undefined is not|TypeError|ENOENT|SQLITE/.test(ran.stderr)) {
      this.problems.push(`docker ${args.join(" ")}: ${ran.stderr.trim()}`);
    }
    return ran;
  }

  /** One client: random commands on names of its own and on shared ones. */
  async client(number: number, seed: number): Promise<void> {
    const random = randomFrom(seed * 1_000 + number);
    for (let step = 0; Date.now() < this.untilMs; step++) {
      const own = `own-${number}-${random(4)}`;
      const shared = `shared-${random(5)}`;
      const name = random(2) === 0 ? own : shared;
      const commands: (() => Promise<unknown>)[] = [
        () => this.promise(`promised-${number}-${step}`, random),
        () => this.promise(`promised-${number}-${step}`, random),
        () => this.docker("run", "-d", "--name", name, "busybox", "sleep", "1000"),
        () =>
          this.docker(
            "run",
            "-d",
            "--restart",
            "always",
            "--name",
            name,
            "-v",
            `${name}:/v`,
            "busybox",
            "sleep",
            "2",
          ),
        () => this.docker("run", "--rm", "--network", "soak", "busybox", "true"),
        () => this.docker("run", "-d", "--name", name, "-p", "80", "busybox", "sleep", "1000"),
        () =>
          this.docker(
            "run",
            "--rm",
            "-v",
            "/anonymous",
            "busybox",
            "sh",
            "-c",
            `exit ${random(200)}`,
          ),
        () => this.docker("create", "--name", name, "busybox"),
        () => this.docker("start", name),
        () => this.docker("stop", "-t", "0", name),
        () => this.docker("kill", name),
        () => this.docker("restart", "-t", "0", name),
        () => this.docker("pause", name),
        () => this.docker("unpause", name),
        () => this.docker("rename", name, own),
        () => this.docker("exec", name, "echo", "hello"),
        () => this.docker("rm", "-f", "-v", name),
        () => this.docker("rm", "-f", name),
        () => this.docker("network", "connect", "soak", name),
        () => this.docker("network", "disconnect", "-f", "soak", name),
        () => this.docker("commit", name, `made-${number}:${random(3)}`),
        () => this.docker("rmi", `made-${number}:${random(3)}`),
        () =>
          this.docker(
            "build",
            "-q",
            "-t",
            `built-${random(3)}`,
            "--build-arg",
            `A=${random(6)}`,
            join(this.engine.folder, "context"),
          ),
        () => this.docker("volume", "create", `volume-${random(4)}`),
        () => this.docker("volume", "rm", `volume-${random(4)}`),
        () => this.docker("cp", `${name}:/etc/passwd`, "-"),
        () => this.docker("cp", "/etc/hostname", `${name}:/tmp/`),
        () => this.docker("exec", "-d", name, "sleep", "1"),
        () => this.docker("update", "-m", "64m", "--memory-swap", "-1", name),
        () => this.docker("top", name),
        () => this.docker("diff", name),
        () => this.docker("logs", "--tail", "5", name),
        () => this.borrow(name, `shared-${random(5)}`),
        () => this.healthy(name),
        () => this.docker("ps", "-a"),
        () => this.docker("network", "create", `net-${random(3)}`),
        () => this.docker("network", "create", "--ipv6", `net-${random(3)}`),
        () => this.docker("network", "rm", `net-${random(3)}`),
        () => this.onNetwork(name, `net-${random(3)}`),
        () => this.onNetwork(name, `net-${random(3)}`),
        () => this.docker("volume", "prune", "-f"),
      ];
      await commands[random(commands.length)]!();
    }
  }

  /** A container in the namespaces of another, which may end at any time. */
  async borrow(name: string, donor: string): Promise<void> {
    const shares = ["--network", `container:${donor}`, "--pid", `container:${donor}`];
    await this.docker("run", "-d", "--name", name, ...shares, "busybox", "sleep", "1000");
  }

  /** A container with a health check and a process that adds processes. */
  async healthy(name: string): Promise<void> {
    const check = ["--health-cmd", "true", "--health-interval", "1s", "--init"];
    const policy = ["--restart", "on-failure:3"];
    const script = "sleep 1000 & sleep 5; exit 1";
    await this.docker(
      "run",
      "-d",
      "--name",
      name,
      ...check,
      ...policy,
      "busybox",
      "sh",
      "-c",
      script,
    );
  }

  /** A container with ports on a network that may come and go, and with another one beside. */
  async onNetwork(name: string, network: string): Promise<void> {
    const ports = ["-p", "80", "-p", "127.0.0.1::81", "-p", "82/udp"];
    const both = ["--network", network, "--network", "soak"];
    await this.docker("run", "-d", "--name", name, ...both, ...ports, "busybox", "sleep", "1000");
  }

  /** Starts a container that prints so many lines and ends with this code; both are checked at the end. */
  async promise(name: string, random: (below: number) => number): Promise<void> {
    const promised = { name, lines: 1 + random(3_000), code: random(200) };
    const script = `i=0; while [ $i -lt ${promised.lines} ]; do i=$((i+1)); echo line $i; done; exit ${promised.code}`;
    const ran = await this.docker("run", "-d", "--name", name, "busybox", "sh", "-c", script);
    if (ran.code === 0) this.promised.push(promised);
  }

  async kill(random: (below: number) => number): Promise<void> {
    while (Date.now() < this.untilMs) {
      await Bun.sleep(1_000 + random(4_000));
      await this.engine.crash();
      this.kills++;
    }
  }

  async checkPromises(): Promise<void> {
    for (const { name, lines, code } of this.promised) {
      const waited = await this.engine.docker(["wait", name], { timeoutMs: commandMs });
      if (waited.stdout.trim() !== String(code)) {
        this.problems.push(
          `${name} ended with ${waited.stdout.trim() || waited.stderr}, not ${code}`,
        );
      }
      const found = (await this.engine.docker(["logs", name])).stdout.split("\n").slice(0, -1);
      const isWhole =
        found.length === lines && found.every((line, at) => line === `line ${at + 1}`);
      if (!isWhole)
        this.problems.push(`${name} has ${found.length} of ${lines} lines, or not in order`);
    }
  }

  /** What the engine itself finds, and what it cannot see. */
  async checkAgreement(when: string): Promise<void> {
    const doctor = await this.engine.lading(["doctor"]);
    for (const line of doctor.stdout.split("\n")) {
      if (line.startsWith("problem")) this.problems.push(`${when}: ${line}`);
    }
    const disk = await this.engine.lading(["system", "fsck"]);
    if (disk.code !== 0) this.problems.push(`${when}: ${disk.stdout}${disk.stderr}`);
    for (const link of linksOf(readRecords(this.engine))) this.links.add(link);
    // Containers end and begin while we look: what is wrong stays wrong.
    let network = await disagreements(this.engine);
    for (let tries = 0; tries < 10 && network.length > 0; tries++) {
      await Bun.sleep(500);
      network = await disagreements(this.engine);
    }
    for (const line of network) this.problems.push(`${when}: ${line}`);
    const states = await this.engine.ok([
      "ps",
      "-a",
      "--no-trunc",
      "--format",
      "{{.ID}} {{.State}} {{.Names}}",
    ]);
    for (const line of states.split("\n").filter(Boolean)) {
      const [id = "", , name = ""] = line.split(" ");
      // One may end, and be started again, just as we look.
      let looks = 0;
      while (looks < 5 && (await this.lacksProcess(id))) await Bun.sleep(200 * ++looks);
      if (looks === 5) this.problems.push(`${when}: ${name} is running without a process`);
    }
  }

  async lacksProcess(id: string): Promise<boolean> {
    const format = "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}}";
    const { stdout } = await this.engine.docker(["inspect", "-f", format, id]);
    const [isRunning, isRestarting, pid] = stdout.trim().split(" ");
    return isRunning === "true" && isRestarting !== "true" && !alive(Number(pid));
  }

  /** No sandbox, address, port, namespace or link is left, but for what the default bridge is. */
  async networkLeft(): Promise<string[]> {
    const { sandboxes, addresses } = readRecords(this.engine);
    const links = list("/sys/class/net").filter((name) => this.links.has(name));
    return [
      ...(sandboxes.length > 0 ? [`${sandboxes.length} sandboxes left`] : []),
      ...(addresses.length > 0 ? [`addresses left: ${addresses.join(", ")}`] : []),
      ...(links.length > 0 ? [`links left: ${links.join(", ")}`] : []),
      ...(await disagreements(this.engine)).map((line) => `at the end: ${line}`),
    ];
  }

  /** When all is removed, nothing may be left that bears the engine's name. */
  async checkEmpty(): Promise<void> {
    const ids = (await this.engine.ok(["ps", "-aq"])).split("\n").filter(Boolean);
    if (ids.length > 0) {
      const removed = await this.engine.docker(["rm", "-f", "-v", ...ids]);
      if (removed.code !== 0) this.problems.push(`rm: ${removed.stderr}`);
    }
    await this.engine.docker(["network", "prune", "-f"]);
    // What takes time is taken away behind a removal.
    let left = [...(await this.networkLeft()), ...this.hostLeft(ids)];
    for (let tries = 0; tries < 40 && left.length > 0; tries++) {
      await Bun.sleep(500);
      left = [...(await this.networkLeft()), ...this.hostLeft(ids)];
    }
    this.problems.push(...left);
  }

  /** Overlays, control groups of what was removed, and processes; but for those made ahead. */
  hostLeft(ids: readonly string[]): string[] {
    const { folder } = this.engine;
    const left: string[] = [];
    const overlays = readFileSync(`/proc/${this.engine.pid}/mountinfo`, "utf8")
      .split("\n")
      .filter((line) => line.includes(folder) && line.includes(" - overlay "));
    // One may be made ahead of its container.
    if (overlays.length > 1) left.push(`${overlays.length} overlays left`);
    const groups = readdirSync("/sys/fs/cgroup", { recursive: true, encoding: "utf8" }).filter(
      (path) => ids.some((id) => path.includes(id)),
    );
    if (groups.length > 0) left.push(`control groups left: ${groups.slice(0, 5).join(", ")}`);
    const watchers = this.engine
      .leftovers()
      .filter((line) => /^process/.test(line) && !/ daemon |runtime\/spare-/.test(line))
      .filter((line) => !isSpare(/^process (\d+)/.exec(line)![1]!));
    if (watchers.length > 0) left.push(`left: ${watchers.slice(0, 5).join("; ")}`);
    return left;
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // the bridge is gone
  }
}

/** Whether a process waits for a container that nobody has asked for yet. */
function isSpare(pid: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`).includes("/runtime/spare-");
  } catch {
    return true; // it has ended
  }
}

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false; // it has ended
  }
}

async function soak(seconds: number, seed: number): Promise<string[]> {
  const engine = await TestEngine.openUnrecorded("soak");
  const run = new Soak(engine);
  await engine.importBusybox();
  const context = join(engine.folder, "context");
  mkdirSync(context);
  await Bun.write(
    join(context, "Dockerfile"),
    "FROM busybox\nARG A\nRUN echo $A > /a; sleep 0.1\nRUN head -c 100000 /dev/zero > /b\n",
  );
  await engine.ok(["network", "create", "soak"]);
  run.untilMs = Date.now() + seconds * 1_000;
  const each = Array.from({ length: clients }, (_, number) => run.client(number, seed));
  await Promise.all([...each, run.kill(randomFrom(seed * 1_000 + 999))]);
  const total = [...run.counts.values()].reduce((sum, count) => sum + count, 0);
  console.log(`${total} commands, ${run.kills} kills, ${run.promised.length} promises`);
  await run.checkPromises();
  await run.checkAgreement("after the commands");
  await engine.crash();
  await run.checkAgreement("after another start");
  await run.checkEmpty();
  await engine.docker(["network", "rm", "soak"]);
  return [...run.problems, ...(await engine.close())];
}

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "20" }, seed: { type: "string", default: "1" } },
});
const problems = await soak(Number(values.seconds), Number(values.seed));
for (const problem of problems) console.log(`PROBLEM ${problem}`);
console.log(problems.length === 0 ? "soak: all agree" : `soak: ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
