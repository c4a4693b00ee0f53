/**
 * A real engine for end-to-end tests: its own socket, data root, exec root and bridge. `close()` stops
 * it, removes what it made, and fails when anything is left on the host.
 */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dir, "..");
export const lading = join(root, "bin/lading");

/** The official docker client, or undefined where there is none. */
export const dockerPath: string | undefined =
  [process.env["LADING_TEST_DOCKER"], Bun.which("docker"), join(root, ".cache/docker")].find(
    (path): path is string => typeof path === "string" && existsSync(path),
  ) ?? undefined;

export const isRoot = process.getuid?.() === 0;
/** Why end-to-end tests cannot run here; undefined when they can. */
export const whyNot: string | undefined = !isRoot
  ? "needs root"
  : !dockerPath
    ? "needs the docker client"
    : undefined;

const hasBuildx =
  dockerPath !== undefined &&
  spawnSync(dockerPath, ["buildx", "version"], { stdio: "ignore" }).status === 0;
/** Why nothing can be built by buildx here; undefined when it can. */
export const whyNotBuildx: string | undefined =
  whyNot ?? (hasBuildx ? undefined : "needs the buildx plugin, Debian 13 has it");

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly timeoutMs?: number;
}

/** Runs a program to its end, without blocking the test's event loop. */
export async function command(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = Bun.spawn([...argv], {
    stdin: options.input === undefined ? "ignore" : Buffer.from(options.input),
    stdout: "pipe",
    stderr: "pipe",
    ...(options.cwd ? { cwd: options.cwd } : {}),
    env: { ...process.env, ...options.env },
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearTimeout(timer);
  return { code, stdout, stderr };
}

export class TestEngine {
  readonly folder: string;
  readonly host: string;
  readonly bridge: string;
  /** Where the next start finds its state. */
  dataRoot: string;
  /** Flags of the next start. */
  extra: readonly string[];
  readonly #isRecorded: boolean;
  #child: ReturnType<typeof Bun.spawn> | undefined;
  log = "";

  private constructor(name: string, extra: readonly string[], isRecorded: boolean) {
    this.folder = mkdtempSync(join(tmpdir(), `lading-test-${name}-`));
    this.#isRecorded = isRecorded;
    this.host = `unix://${this.folder}/engine.sock`;
    this.bridge = `ldt-${name}`.slice(0, 15);
    this.extra = extra;
    this.dataRoot = join(this.folder, "data");
    mkdirSync(join(this.folder, "docker"), { recursive: true });
  }

  /** Starts an engine; `name` (unique, at most 11 characters) names its bridge. */
  static open(name: string, extra: readonly string[] = []): Promise<TestEngine> {
    return TestEngine.#started(new TestEngine(name, extra, true));
  }

  /** As `open`, but its answers are not recorded, which would take time. */
  static openUnrecorded(name: string): Promise<TestEngine> {
    return TestEngine.#started(new TestEngine(name, [], false));
  }

  static async #started(engine: TestEngine): Promise<TestEngine> {
    await engine.start();
    return engine;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Every answer of the API is written here, one JSON line each. */
  get recordPath(): string {
    return join(this.folder, "answers.jsonl");
  }

  /** Starts the daemon and waits for the line with which it says that it accepts requests. */
  async start(): Promise<void> {
    const child = Bun.spawn(
      [
        lading,
        "daemon",
        ...(this.extra.some((flag) => flag.startsWith("--config-file"))
          ? []
          : [`--host=${this.host}`]),
        `--data-root=${this.dataRoot}`,
        `--exec-root=${join(this.folder, "run")}`,
        `--bridge=${this.bridge}`,
        ...this.extra,
      ],
      {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        cwd: this.folder,
        env: {
          ...process.env,
          ...(this.#isRecorded ? { LADING_API_RECORD: this.recordPath } : {}),
        },
      },
    );
    this.#child = child;
    void this.#collect(child.stderr);
    const reader = child.stdout.getReader();
    let said = "";
    const deadline = Bun.sleep(30_000).then(() => "late" as const);
    while (!said.includes("accepts requests")) {
      const next = await Promise.race([reader.read(), deadline]);
      if (next === "late" || next.done) {
        await Bun.sleep(200); // for its last words
        throw new Error(
          `The engine did not start (${next === "late" ? "late" : `ended ${child.exitCode} ${child.signalCode}`}):\n${this.log}`,
        );
      }
      said += new TextDecoder().decode(next.value);
    }
    reader.releaseLock();
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const part of stream) this.log = (this.log + decoder.decode(part)).slice(-100_000);
  }

  /** Ends the daemon with a signal and gives its exit code. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number> {
    const child = this.#child;
    if (!child) return 0;
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
    const code = await child.exited;
    clearTimeout(late);
    this.#child = undefined;
    return code;
  }

  /** `kill -9`, then a new start on the same folders. */
  async crash(): Promise<void> {
    await this.end("SIGKILL");
    await this.start();
  }

  /** As a host that loses power and comes back: no process, mount or run directory is left, the data is. */
  async losePower(pids: readonly number[]): Promise<void> {
    await this.end("SIGKILL");
    for (const pid of [...this.#watchers(), ...pids]) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if ((error as { code?: string }).code !== "ESRCH") throw error; // it ended with another
      }
    }
    await Bun.sleep(100);
    this.#removeTraces();
    await this.start();
  }

  get env(): Record<string, string> {
    return {
      DOCKER_HOST: this.host,
      DOCKER_CONFIG: join(this.folder, "docker"),
      DOCKER_BUILDKIT: "0",
    };
  }

  /** The official docker client against this engine. */
  docker(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return command([dockerPath!, ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** The official client with its plugins, which are not in the engine's own configuration. */
  buildx(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const env = { DOCKER_HOST: this.host, DOCKER_BUILDKIT: "1", ...options.env };
    return command([dockerPath!, "buildx", ...args], { ...options, env });
  }

  /** Our own client against this engine. */
  lading(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return command([lading, ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** As `docker`, trimmed stdout; throws when the exit code is not 0. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const ran = await this.docker(args, options);
    if (ran.code !== 0) {
      throw new Error(
        `docker ${args.join(" ")}: exit ${ran.code}\n${ran.stdout}${ran.stderr}\n${this.log}`,
      );
    }
    return ran.stdout.trim();
  }

  /** Imports an image with busybox and nothing else. */
  async importBusybox(name = "busybox:latest"): Promise<string> {
    return this.ok(["import", "-c", 'CMD ["sh"]', "-", name], { input: busyboxTar() });
  }

  /** Removes all containers, ends the daemon, removes the folder; tells what is left on the host. */
  async close(): Promise<string[]> {
    if (!this.#child) await this.start();
    const ids = (await this.docker(["ps", "-aq"])).stdout.split("\n").filter(Boolean);
    if (ids.length > 0) await this.docker(["rm", "-f", "-v", ...ids]);
    const networks = (await this.docker(["network", "ls", "-q", "-f", "type=custom"])).stdout;
    for (const id of networks.split("\n").filter(Boolean)) await this.docker(["network", "rm", id]);
    const code = await this.end();
    // A sync(1) that the engine had begun ends by itself.
    for (let tries = 0; tries < 100 && this.leftovers().length > 0; tries++) await Bun.sleep(100);
    const left = code === 0 ? this.leftovers() : [`the daemon ended with ${code}:\n${this.log}`];
    this.#removeTraces();
    rmSync(this.folder, { recursive: true, force: true });
    return left;
  }

  /** Mounts, processes, links and rules that carry this engine's folder or bridge in their name. */
  leftovers(): string[] {
    const mounts = readFileSync("/proc/1/mountinfo", "utf8").split("\n");
    const processes = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((pid) => {
        try {
          const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
          return line.includes(this.folder) ? [`process ${pid}: ${line}`] : [];
        } catch {
          return []; // it ended while we looked
        }
      });
    return [
      ...mounts.filter((line) => line.includes(this.folder)).map((line) => `mount ${line}`),
      ...processes,
    ];
  }

  /** Processes that work in this engine's run directory. */
  #watchers(): number[] {
    return readdirSync("/proc").flatMap((name) => {
      try {
        return readlinkSync(`/proc/${name}/cwd`).startsWith(`${this.folder}/run`)
          ? [Number(name)]
          : [];
      } catch {
        return []; // no process, or one that has ended
      }
    });
  }

  #removeTraces(): void {
    // The bridge and the rules stay after a clean end, so that containers may go on; here nothing goes on.
    spawnSync("ip", ["link", "delete", this.bridge]);
    for (const family of ["ip", "ip6", "inet", "bridge"]) {
      spawnSync("nft", ["delete", "table", family, `lading-${this.bridge}`]);
    }
    // On hosts with hybrid cgroups the engine keeps its view of mounts while a container may need it.
    spawnSync("umount", ["-l", join(this.folder, "run/mount-view/ns")]);
    spawnSync("umount", ["-l", join(this.folder, "run/mount-view")]);
    rmSync(join(this.folder, "run"), { recursive: true, force: true });
  }
}

let tarOfBusybox: Uint8Array | undefined;

/** A root filesystem as tar: busybox with links for its applets, and the usual folders. */
export function busyboxTar(): Uint8Array {
  if (tarOfBusybox) return tarOfBusybox;
  const folder = mkdtempSync(join(tmpdir(), "lading-busybox-"));
  const script = `set -e
    cd ${folder}; mkdir -p bin etc tmp root var/www home dev proc sys usr/bin usr/sbin sbin
    chmod 755 .; chmod 1777 tmp; cp "$(command -v busybox)" bin/busybox
    for name in $(bin/busybox --list); do [ $name = busybox ] || ln -s busybox bin/$name; done
    printf 'root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534:nobody:/home:/bin/false\\nwww:x:33:33:www:/var/www:/bin/sh\\n' > etc/passwd
    printf 'root:x:0:\\nwww:x:33:\\nnogroup:x:65534:\\nextra:x:500:www\\n' > etc/group
    tar --sort=name --numeric-owner --owner=0 --group=0 -cf ${folder}.tar .`;
  const made = spawnSync("sh", ["-c", script], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`Cannot make the busybox image: ${made.stderr}`);
  tarOfBusybox = readFileSync(`${folder}.tar`);
  rmSync(folder, { recursive: true });
  rmSync(`${folder}.tar`);
  return tarOfBusybox;
}
