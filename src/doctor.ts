/** `lading doctor`: looks at the host and at a running engine, and says of each finding what to do. */
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { parseArgs } from "node:util";
import { connect } from "./api/client.ts";
import { toFailure } from "./base/mod.ts";
import { cgroupMode } from "./host.ts";
import { runAny } from "./sys/mod.ts";

/** One thing that was looked at. `hint` says what to do about what is not "ok". */
export interface Finding {
  readonly level: "ok" | "warning" | "problem";
  readonly text: string;
  readonly hint?: string;
}

const usage = `Usage:  lading doctor [OPTIONS]

Looks at this host and at the engine, and says what is missing or left over, and what to do.

Options:
  -H, --host string       The engine to look at (default $DOCKER_HOST or unix:///run/lading/lading.sock)
      --data-root string  Where to look for free space (default the engine's, or /var/lib)
      --bundle FILE       Write all that helps from afar into a tar, without secrets
      --help              Show this text
`;

/** Exit code 0 when nothing is a problem, 1 otherwise. */
export async function runDoctor(argv: readonly string[]): Promise<number> {
  const options = {
    host: { type: "string", short: "H" },
    "data-root": { type: "string" },
    bundle: { type: "string" },
    help: { type: "boolean" },
  } as const;
  const { values } = parseArgs({ args: [...argv], options });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const host = values.host ?? process.env["DOCKER_HOST"] ?? "unix:///run/lading/lading.sock";
  const engine = await lookAtEngine(host);
  const findings = [
    ...lookAtKernel(),
    ...(await lookAtPrograms()),
    lookAtSpace(values["data-root"] ?? engine.dataRoot ?? "/var/lib"),
    ...engine.findings,
  ];
  const sign = { ok: "ok      ", warning: "warning ", problem: "problem " };
  const report = findings
    .map(({ level, text, hint }) => `${sign[level]} ${text}\n${hint ? `          ${hint}\n` : ""}`)
    .join("");
  process.stdout.write(report);
  if (values.bundle !== undefined) {
    const { writeBundle } = await import("./doctor-bundle.ts");
    await writeBundle(values.bundle, host, report);
    process.stdout.write(`\nWritten to ${values.bundle}: look into it before you give it away\n`);
  }
  return findings.some(({ level }) => level === "problem") ? 1 : 0;
}

function lookAtKernel(): Finding[] {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const isNewEnough = major > 5 || (major === 5 && minor >= 6);
  const mode = cgroupMode(readFileSync("/proc/mounts", "utf8"));
  const hasOverlay = /\boverlay\b/.test(readFileSync("/proc/filesystems", "utf8"));
  return [
    isNewEnough
      ? { level: "ok", text: `kernel ${release()}` }
      : {
          level: "problem",
          text: `kernel ${release()} is too old`,
          hint: "Lading needs openat2 and pidfd_getfd: Linux 5.6 or newer",
        },
    process.getuid?.() === 0
      ? { level: "ok", text: "root" }
      : { level: "problem", text: "not root", hint: "Run the daemon as root" },
    hasOverlay
      ? { level: "ok", text: "overlay file system" }
      : { level: "problem", text: "no overlay file system", hint: "modprobe overlay" },
    lookAtCgroups(mode),
    lookAtForwarding(),
    lookAtUsers([major, minor]),
  ];
}

function lookAtCgroups(mode: ReturnType<typeof cgroupMode>): Finding {
  if (mode === "none") {
    const hint = "mount -t cgroup2 none /sys/fs/cgroup";
    return { level: "problem", text: "no cgroups are mounted", hint };
  }
  const names =
    mode === "v2"
      ? readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ")
      : readFileSync("/proc/cgroups", "utf8")
          .split("\n")
          .filter((line) => /\t1$/.test(line))
          .map((line) => line.split("\t")[0]!);
  const missing = ["memory", "pids", "cpu", "cpuset"].filter((name) => !names.includes(name));
  if (missing.length === 0)
    return { level: "ok", text: `cgroups ${mode} with ${names.join(", ")}` };
  return {
    level: "warning",
    text: `cgroups ${mode} without ${missing.join(", ")}`,
    hint: "Limits of these kinds will be refused; enable them on the kernel's command line",
  };
}

function lookAtForwarding(): Finding {
  const isOn = readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8").trim() === "1";
  if (isOn) return { level: "ok", text: "IPv4 forwarding is on" };
  const hint = "The daemon switches it on when it starts; check that nothing switches it off";
  return { level: "warning", text: "IPv4 forwarding is off", hint };
}

function lookAtUsers([major, minor]: readonly [number, number]): Finding {
  const path = "/proc/sys/user/max_user_namespaces";
  const isOff = !existsSync(path) || Number(readFileSync(path, "utf8")) === 0;
  const isOld = major < 5 || (major === 5 && minor < 19);
  if (!isOff && !isOld) return { level: "ok", text: "user namespaces, for --userns-remap" };
  return {
    level: "warning",
    text: `--userns-remap does not work: ${isOff ? "there are no user namespaces" : "the kernel is too old"}`,
    hint: isOff ? "sysctl user.max_user_namespaces=10000" : "It takes Linux 5.19",
  };
}

async function lookAtPrograms(): Promise<Finding[]> {
  const wanted = [
    { argv: ["crun", "--version"], name: "crun", why: "no container can start" },
    { argv: ["nft", "list", "tables"], name: "nftables", why: "no port can be published" },
    { argv: ["xz", "--version"], name: "xz-utils", why: "archives in xz cannot be read" },
    { argv: ["bzip2", "--help"], name: "bzip2", why: "archives in bzip2 cannot be read" },
    { argv: ["ps", "--version"], name: "procps", why: "top does not work" },
  ] as const;
  const found = await Promise.all(
    wanted.map(async ({ argv, name, why }): Promise<Finding> => {
      try {
        const { exitCode, stdout, stderr } = await runAny(argv, { timeoutMs: 5_000 });
        if (exitCode !== 0) throw new Error(stderr.trim().split("\n")[0]);
        const version =
          argv[1] === "--version" ? new TextDecoder().decode(stdout).split("\n")[0] : name;
        return { level: "ok", text: `${version}` };
      } catch (error) {
        const text = `${name} does not work (${toFailure(error).message}): ${why}`;
        return { level: "problem", text, hint: `apt-get install ${name}` };
      }
    }),
  );
  const files = [
    { path: "/usr/share/containers/seccomp.json", name: "golang-github-containers-common" },
    { path: "/usr/bin/catatonit", name: "catatonit" },
  ];
  const present = files.map(({ path, name }): Finding => {
    if (existsSync(path)) return { level: "ok", text: path };
    return { level: "problem", text: `${path} is missing`, hint: `apt-get install ${name}` };
  });
  return [...found, ...present];
}

function lookAtSpace(path: string): Finding {
  const { bavail, blocks, bsize } = statfsSync(existsSync(path) ? path : "/");
  const freeGigabytes = (bavail * bsize) / 1e9;
  const text = `${freeGigabytes.toFixed(1)} GB free below ${path} (${Math.round((100 * bavail) / blocks)}%)`;
  if (freeGigabytes > 1) return { level: "ok", text };
  return { level: "warning", text, hint: "Make room: lading system prune" };
}

/** Asks the engine for what it knows of itself, and for what is left over. */
async function lookAtEngine(host: string): Promise<{ dataRoot?: string; findings: Finding[] }> {
  try {
    const client = connect({ host });
    const audit = await client.system.audit();
    return { dataRoot: audit.dataRoot, findings: audit.findings };
  } catch (error) {
    const text = `no engine answers on ${host} (${toFailure(error).message})`;
    const hint = "Start one: lading daemon; or name another: lading doctor -H unix:///PATH";
    return { findings: [{ level: "warning", text, hint }] };
  }
}
