/** The flags of `create` and `run`; `create-body.ts` makes a request of them. */
import { Failure } from "../base/mod.ts";
import type { FlagTable } from "./flags.ts";
import { checkByteRate, checkRate, checkRule, checkUlimit, checkWeight } from "./limit-flags.ts";
import { parseMount } from "./mount-flags.ts";
import { isAddress } from "./port-flags.ts";

function checkStream(value: string): void {
  if (!/^(stdin|stdout|stderr)$/i.test(value)) {
    throw new Failure("invalid", "valid streams are STDIN, STDOUT and STDERR");
  }
}

/** A line of /etc/hosts as `--add-host` takes it. @throws Failure "invalid" */
export function checkHost(value: string): void {
  const name = /^([^:=]*)[:=]/.exec(value)?.[1];
  if (!name) throw new Failure("invalid", `bad format for add-host: "${value}"`);
}

function checkEnv(value: string): void {
  if (value === "" || value.startsWith("=")) {
    throw new Failure("invalid", `invalid environment variable: ${value}`);
  }
}

function checkAddress(value: string): void {
  if (value === "" || !isAddress(value)) {
    throw new Failure("invalid", `IP address is not correctly formatted: ${value}`);
  }
}

function checkMount(value: string): void {
  parseMount(value);
}

const kernelParameters =
  /^(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced|domainname)|fs\.mqueue\..*|net\..*)$/;

function checkSysctl(value: string): void {
  const [name = "", setting] = value.split(/=(.*)/s) as [string, string?];
  if (setting !== undefined && kernelParameters.test(name.replaceAll("/", "."))) return;
  throw new Failure("invalid", `sysctl '${value}' is not allowed`);
}

const process = {
  attach: {
    kind: "list",
    short: "a",
    about: "Attach to STDIN, STDOUT or STDERR",
    check: checkStream,
  },
  entrypoint: { kind: "string", about: "Program to run instead of the image's entrypoint" },
  env: {
    kind: "list",
    short: "e",
    about: "Set an environment variable: NAME=VALUE, or NAME to pass it on",
    check: checkEnv,
  },
  "env-file": { kind: "list", about: "Read environment variables from a file" },
  "group-add": { kind: "list", about: "Join further groups" },
  hostname: { kind: "string", short: "h", about: "The container's host name" },
  domainname: { kind: "string", about: "The container's NIS domain name" },
  init: { kind: "bool", about: "Run an init inside that forwards signals and reaps processes" },
  interactive: { kind: "bool", short: "i", about: "Keep STDIN open even when not attached" },
  "stop-signal": { kind: "string", about: "Signal that stops the container" },
  "stop-timeout": { kind: "int", about: "Seconds to wait after it before the kill" },
  tty: { kind: "bool", short: "t", about: "Give the container a terminal" },
  user: { kind: "string", short: "u", about: "Run as this user: NAME|UID[:GROUP|GID]" },
  workdir: { kind: "string", short: "w", about: "Working folder inside the container" },
} as const satisfies FlagTable;

const identity = {
  annotation: { kind: "list", word: "map", about: "Annotation for the OCI runtime: NAME=VALUE" },
  cidfile: { kind: "string", about: "Write the container's ID to this file" },
  "disable-content-trust": {
    kind: "bool",
    default: true,
    about: "Taken for compatibility; without effect",
  },
  label: { kind: "list", short: "l", about: "Set a label: NAME=VALUE" },
  "label-file": { kind: "list", about: "Read labels from a file" },
  name: { kind: "string", about: "Name of the container" },
  platform: { kind: "string", about: "Platform, when the engine can run several" },
  pull: {
    kind: "string",
    default: "missing",
    about: "Pull the image first: always, missing or never",
  },
  quiet: { kind: "bool", short: "q", about: "Do not show the pull" },
  restart: {
    kind: "string",
    default: "no",
    about: "Restart it: no, always, unless-stopped, on-failure[:MAX], on-unhealthy[:MAX]",
  },
  rm: { kind: "bool", about: "Remove the container and its anonymous volumes when it ends" },
  runtime: { kind: "string", about: "OCI runtime for this container" },
} as const satisfies FlagTable;

const health = {
  "health-cmd": { kind: "string", about: "Command that checks the container's health" },
  "health-interval": { kind: "duration", about: "Time between checks" },
  "health-retries": { kind: "int", about: "Failed checks in a row that mean unhealthy" },
  "health-start-interval": { kind: "duration", about: "Time between checks while it starts" },
  "health-start-period": {
    kind: "duration",
    about: "Time to start, in which failed checks do not count",
  },
  "health-timeout": { kind: "duration", about: "Time that one check may take" },
  "no-healthcheck": { kind: "bool", about: "Switch off the image's health check" },
} as const satisfies FlagTable;

const processor = {
  cpus: { kind: "decimal", about: "Number of processors, such as 1.5" },
  "cpu-count": { kind: "int", about: "Processors (Windows only)" },
  "cpu-percent": { kind: "int", about: "Share of the processors in percent (Windows only)" },
  "cpu-period": { kind: "int", about: "Period of the CFS quota, microseconds" },
  "cpu-quota": { kind: "int", about: "CFS quota in a period, microseconds" },
  "cpu-rt-period": { kind: "int", about: "Period of the realtime limit, microseconds" },
  "cpu-rt-runtime": { kind: "int", about: "Realtime in a period, microseconds" },
  "cpu-shares": { kind: "int", short: "c", about: "Relative weight" },
  "cpuset-cpus": { kind: "string", about: "Processors to run on: 0-3, 0,1" },
  "cpuset-mems": { kind: "string", about: "Memory nodes to use: 0-3, 0,1" },
} as const satisfies FlagTable;

const memory = {
  memory: { kind: "bytes", short: "m", about: "Most memory" },
  "memory-reservation": { kind: "bytes", about: "Soft limit of memory" },
  "memory-swap": { kind: "endless", about: "Most memory and swap together; -1 for endless swap" },
  "memory-swappiness": { kind: "int", default: -1, about: "How readily it swaps: 0 to 100" },
  "kernel-memory": { kind: "bytes", about: "Taken for compatibility", hidden: true },
  "oom-kill-disable": { kind: "bool", about: "Do not kill it when memory runs out" },
  "oom-score-adj": { kind: "int", about: "Preference when memory runs out: -1000 to 1000" },
  "pids-limit": { kind: "int", about: "Most processes; -1 for endless" },
  "shm-size": { kind: "bytes", about: "Size of /dev/shm" },
  ulimit: {
    kind: "list",
    word: "ulimit",
    about: "Limit of a resource: NAME=SOFT[:HARD]",
    check: checkUlimit,
  },
} as const satisfies FlagTable;

const devices = {
  "blkio-weight": { kind: "int", word: "uint16", about: "Weight of block I/O: 10 to 1000, or 0" },
  "blkio-weight-device": {
    kind: "list",
    about: "The same for one device: PATH:WEIGHT",
    check: checkWeight,
  },
  "device-read-bps": {
    kind: "list",
    about: "Most bytes a second read from a device: PATH:RATE",
    check: checkByteRate,
  },
  "device-read-iops": { kind: "list", about: "Most reads a second: PATH:RATE", check: checkRate },
  "device-write-bps": {
    kind: "list",
    about: "Most bytes a second written to a device: PATH:RATE",
    check: checkByteRate,
  },
  "device-write-iops": { kind: "list", about: "Most writes a second: PATH:RATE", check: checkRate },
  "io-maxbandwidth": {
    kind: "bytes",
    about: "Most bytes a second for the system drive (Windows only)",
  },
  "io-maxiops": { kind: "int", about: "Most operations a second for it (Windows only)" },
  "storage-opt": { kind: "list", about: "Option of the storage driver: NAME=VALUE" },
  device: { kind: "list", about: "Give it a device: HOST[:CONTAINER[:rwm]]" },
  "device-cgroup-rule": {
    kind: "list",
    about: "Add a rule to the list of allowed devices",
    check: checkRule,
  },
  gpus: { kind: "string", word: "gpu-request", about: "GPUs to give: all, a number, or device=…" },
} as const satisfies FlagTable;

const isolation = {
  "cap-add": { kind: "list", about: "Add a capability" },
  "cap-drop": { kind: "list", about: "Drop a capability" },
  "cgroup-parent": { kind: "string", about: "Parent of its cgroup" },
  cgroupns: { kind: "string", about: "Cgroup namespace: host or private" },
  ipc: { kind: "string", about: "IPC namespace: host, private, shareable, none or container:NAME" },
  isolation: { kind: "string", about: "Isolation technology" },
  pid: { kind: "string", about: "PID namespace: host or container:NAME" },
  privileged: { kind: "bool", about: "Give it all rights and devices of the host" },
  "read-only": { kind: "bool", about: "Mount its root file system read-only" },
  "security-opt": { kind: "list", about: "Security option: seccomp=FILE, no-new-privileges, …" },
  sysctl: {
    kind: "list",
    word: "map",
    about: "Set a kernel parameter: NAME=VALUE",
    check: checkSysctl,
  },
  "use-api-socket": {
    kind: "bool",
    about: "Bind the engine's socket and the client's credentials",
    hidden: true,
  },
  userns: { kind: "string", about: "User namespace: host or private" },
  uts: { kind: "string", about: "UTS namespace: host" },
} as const satisfies FlagTable;

const network = {
  "add-host": {
    kind: "list",
    about: "Add a line to its /etc/hosts: NAME:ADDRESS",
    check: checkHost,
  },
  dns: { kind: "list", about: "DNS server", check: checkAddress },
  "dns-opt": { kind: "list", about: "", hidden: true, sameAs: "dns-option" },
  "dns-option": { kind: "list", about: "Option for the resolver" },
  "dns-search": { kind: "list", about: "Search domain" },
  expose: { kind: "list", about: "Port or ports that it serves" },
  ip: { kind: "string", about: "Its IPv4 address" },
  ip6: { kind: "string", about: "Its IPv6 address" },
  link: { kind: "list", about: "Link to another container: NAME[:ALIAS]" },
  "link-local-ip": { kind: "list", about: "Link-local address" },
  "mac-address": { kind: "string", about: "Its MAC address" },
  net: { kind: "list", about: "", hidden: true, sameAs: "network" },
  "net-alias": { kind: "list", about: "", hidden: true, sameAs: "network-alias" },
  network: {
    kind: "list",
    word: "network",
    about: "Network to join: NAME, host, none, container:NAME, or name=…,alias=…",
  },
  "network-alias": { kind: "list", about: "Its name on that network" },
  publish: {
    kind: "list",
    short: "p",
    about: "Publish a port: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]",
  },
  "publish-all": {
    kind: "bool",
    short: "P",
    about: "Publish all ports that it serves on free ones",
  },
} as const satisfies FlagTable;

const storage = {
  "log-driver": { kind: "string", about: "Logging driver" },
  "log-opt": { kind: "list", about: "Option for the logging driver: NAME=VALUE" },
  mount: {
    kind: "list",
    word: "mount",
    about: "Mount: type=bind|volume|tmpfs|image,source=…,target=…",
    check: checkMount,
  },
  tmpfs: { kind: "list", about: "Mount a tmpfs: PATH[:OPTIONS]" },
  volume: {
    kind: "list",
    short: "v",
    about: "Mount a folder or volume: [SOURCE:]TARGET[:OPTIONS]",
  },
  "volume-driver": { kind: "string", about: "Volume driver" },
  "volumes-from": { kind: "list", about: "Mount what another container mounts" },
} as const satisfies FlagTable;

export const createFlags = {
  ...process,
  ...identity,
  ...health,
  ...processor,
  ...memory,
  ...devices,
  ...isolation,
  ...network,
  ...storage,
};

export const runFlags = {
  ...createFlags,
  detach: { kind: "bool", short: "d", about: "Run it in the background and print its ID" },
  "detach-keys": { kind: "string", about: "Keys that detach from it (default ctrl-p,ctrl-q)" },
  "sig-proxy": { kind: "bool", default: true, about: "Pass signals on to its process" },
} as const satisfies FlagTable;
