/**
 * All settings of the daemon: the names of dockerd's flags and of the keys of its `daemon.json`, what
 * values they take, and which of them Lading has a meaning for.
 */

/** `pairs` are `NAME=VALUE` as flags, an object in the file. */
type Kind = "text" | "list" | "switch" | "count" | "bytes" | "pairs";

export interface DaemonKey {
  readonly flag: string;
  /** Its name in the file, where that is another one; "" when it stands on the command line alone. */
  readonly key?: string;
  readonly short?: string;
  readonly kind: Kind;
  readonly about: string;
  /** May change while the daemon runs: SIGHUP reads it again. */
  readonly reloads?: true;
  /** Taken for the sake of Docker's files, without effect; why. */
  readonly ignored?: string;
  /** Refused, since to go on without it would be another engine than was asked for; why. */
  readonly refused?: string;
}

const used: readonly DaemonKey[] = [
  {
    flag: "host",
    key: "hosts",
    short: "H",
    kind: "list",
    about: "Where to listen: unix:///PATH, tcp://HOST:PORT or fd:// (socket activation)",
  },
  {
    flag: "config-file",
    key: "",
    kind: "text",
    about: "Settings in JSON, as dockerd's; read again on SIGHUP (default /etc/lading/daemon.json)",
  },
  { flag: "validate", key: "", kind: "switch", about: "Check flags and file, and end" },
  {
    flag: "data-root",
    kind: "text",
    about: "Where images, containers and volumes are kept (default /var/lib/lading)",
  },
  {
    flag: "exec-root",
    kind: "text",
    about: "Where the state of this run of the host is kept (default /run/lading)",
  },
  {
    flag: "bridge",
    short: "b",
    kind: "text",
    about: "Bridge device of the default network (default lading0)",
  },
  { flag: "bip", kind: "text", about: "Address of the bridge, with its prefix: 10.1.0.1/24" },
  { flag: "bip6", kind: "text", about: "The same for IPv6" },
  { flag: "fixed-cidr", kind: "text", about: "Range of the default network's addresses" },
  { flag: "fixed-cidr-v6", kind: "text", about: "Its IPv6 subnet or range" },
  { flag: "ipv6", kind: "switch", about: "IPv6 on the default network" },
  { flag: "icc", kind: "switch", about: "Its containers reach each other (default true)" },
  { flag: "ip", kind: "text", about: "The host's address that it publishes ports on" },
  { flag: "ip-masq", kind: "switch", about: "Its containers leave by the host's address" },
  { flag: "default-gateway", kind: "text", about: "Its containers' way out, if not the bridge" },
  { flag: "default-gateway-v6", kind: "text", about: "The same for IPv6" },
  {
    flag: "allow-direct-routing",
    kind: "switch",
    about: "Published ports are reached by a route to the container's address, too",
  },
  {
    flag: "host-gateway-ip",
    key: "host-gateway-ips",
    kind: "list",
    about: 'What "host-gateway" stands for in --add-host (default the bridge\'s address)',
  },
  {
    flag: "cdi-spec-dir",
    key: "cdi-spec-dirs",
    kind: "list",
    about: "Folders that describe devices (default /etc/cdi, /var/run/cdi)",
  },
  { flag: "mtu", kind: "count", about: "Largest packet on the default network (default 1500)" },
  {
    flag: "default-address-pool",
    key: "default-address-pools",
    kind: "list",
    about: "Where networks get subnets from: base=10.9.0.0/16,size=24",
  },
  {
    flag: "firewall",
    kind: "text",
    about: "publish: published ports are open (default); respect: the host's rules for them hold",
  },
  { flag: "dns", kind: "list", about: "DNS servers for containers (default the host's)" },
  { flag: "dns-opt", key: "dns-opts", kind: "list", about: "DNS options for containers" },
  { flag: "dns-search", kind: "list", about: "DNS search domains for containers" },
  { flag: "group", short: "G", kind: "text", about: "Group of the socket (default docker)" },
  {
    flag: "default-runtime",
    kind: "text",
    about: "OCI runtime, by name or path (default crun); --runtime is the same",
  },
  {
    flag: "add-runtime",
    key: "runtimes",
    kind: "list",
    about: "A name for an OCI runtime: NAME=PATH",
  },
  {
    flag: "userns-remap",
    kind: "text",
    about: "Containers in user namespaces: default, USER, USER:GROUP or UID:GID",
  },
  {
    flag: "seccomp-profile",
    kind: "text",
    about: "Default seccomp profile (default that of Debian's containers-common)",
  },
  {
    flag: "default-ulimit",
    key: "default-ulimits",
    kind: "list",
    reloads: true,
    about: "Limits of containers that name none: nofile=1024:2048",
  },
  {
    flag: "default-shm-size",
    kind: "bytes",
    reloads: true,
    about: "Size of /dev/shm (default 64m)",
  },
  {
    flag: "default-ipc-mode",
    kind: "text",
    reloads: true,
    about: '"private" (the default) or "shareable"',
  },
  {
    flag: "default-cgroupns-mode",
    kind: "text",
    reloads: true,
    about: '"private" (the default) or "host"',
  },
  { flag: "cgroup-parent", kind: "text", reloads: true, about: "Parent control group" },
  { flag: "init", kind: "switch", reloads: true, about: "Run an init in each container" },
  {
    flag: "no-new-privileges",
    kind: "switch",
    reloads: true,
    about: "Containers cannot gain privileges",
  },
  {
    flag: "log-driver",
    kind: "text",
    reloads: true,
    about: "Log driver of containers (default json-file)",
  },
  {
    flag: "log-opt",
    key: "log-opts",
    kind: "pairs",
    reloads: true,
    about: "Its options: NAME=VALUE",
  },
  {
    flag: "authorization-plugin",
    key: "authorization-plugins",
    kind: "list",
    about: "Ask this plugin about each request",
  },
  {
    flag: "insecure-registry",
    key: "insecure-registries",
    kind: "list",
    reloads: true,
    about: "Registries to be reached without TLS or without checking it: HOST[:PORT] or a range",
  },
  {
    flag: "registry-mirror",
    key: "registry-mirrors",
    kind: "list",
    reloads: true,
    about: "Ask this registry before Docker Hub: https://HOST[:PORT][/PATH]",
  },
  {
    flag: "registries",
    kind: "text",
    about: "JSON file: mirrors, rewrites, default registry (default /etc/lading/registries.json)",
  },
  {
    flag: "registry",
    kind: "text",
    about: "Serve a registry as well, at HOST:PORT, on the engine's disk (default none)",
  },
  { flag: "registry-config", kind: "text", about: "Its configuration: users, rules, TLS, limits" },
  {
    flag: "max-concurrent-downloads",
    kind: "count",
    reloads: true,
    about: "Layers pulled at a time (default 3)",
  },
  {
    flag: "max-concurrent-uploads",
    kind: "count",
    reloads: true,
    about: "Layers pushed at a time (default 5)",
  },
  { flag: "http-proxy", kind: "text", about: "Proxy for pulls and pushes by HTTP" },
  { flag: "https-proxy", kind: "text", about: "Proxy for pulls and pushes by HTTPS" },
  { flag: "no-proxy", kind: "text", about: "Hosts that are reached without a proxy" },
  {
    flag: "build-cache-max",
    kind: "bytes",
    about: "The build cache is cut to this size, least valuable first (default 20g)",
  },
  {
    flag: "live-restore",
    kind: "switch",
    reloads: true,
    about: "Containers go on when the engine ends (default true)",
  },
  {
    flag: "shutdown-timeout",
    kind: "count",
    reloads: true,
    about: "Seconds for containers to stop without live-restore (default 15)",
  },
  { flag: "label", key: "labels", kind: "list", reloads: true, about: "Labels of this engine" },
  { flag: "tls", kind: "switch", about: "TLS on TCP; implied by --tlsverify" },
  { flag: "tlsverify", kind: "switch", about: "TLS on TCP, and clients must show a certificate" },
  {
    flag: "tlscacert",
    kind: "text",
    about: "Clients' certificates are of this authority (default ~/.docker/ca.pem)",
  },
  { flag: "tlscert", kind: "text", about: "The engine's certificate (default ~/.docker/cert.pem)" },
  { flag: "tlskey", kind: "text", about: "Its key (default ~/.docker/key.pem)" },
  {
    flag: "allow-plain-tcp",
    kind: "switch",
    about: "Serve TCP beyond loopback without TLS: whoever reaches it is root on this host",
  },
  { flag: "metrics-addr", kind: "text", about: "Serve Prometheus metrics at HOST:PORT" },
  {
    flag: "favor-dynmods",
    kind: "switch",
    about: "Set the host's control groups up for quick starts, until it restarts (default true)",
  },
  { flag: "debug", short: "D", kind: "switch", reloads: true, about: "Log level debug" },
  {
    flag: "log-level",
    short: "l",
    kind: "text",
    reloads: true,
    about: "debug, info, warn or error (default info)",
  },
  { flag: "log-format", kind: "text", reloads: true, about: "text (the default) or json" },
  { flag: "pidfile", short: "p", kind: "text", about: "Write the process ID to this file" },
];

const firewall = "Lading writes nftables itself, in tables of its own";
const swarm = "this engine is not part of a swarm";
const containerd = "Lading has no containerd";

const ignored: readonly DaemonKey[] = (
  [
    ["iptables", "switch", firewall],
    ["ip6tables", "switch", firewall],
    ["ip-forward", "switch", "containers need forwarding: it is always switched on"],
    ["ip-forward-no-drop", "switch", firewall],
    ["firewall-backend", "text", firewall],
    [
      "userland-proxy",
      "switch",
      "ports are published by the kernel, and by the daemon where it cannot",
    ],
    ["userland-proxy-path", "text", "ports are published without a proxy program"],
    ["storage-driver", "text", "Lading has one storage driver, overlay"],
    ["containerd", "text", containerd],
    ["containerd-namespace", "text", containerd],
    ["containerd-plugins-namespace", "text", containerd],
    ["cri-containerd", "switch", containerd],
    ["experimental", "switch", "nothing hides behind it"],
    ["features", "pairs", "none of them is Lading's", "feature"],
    ["max-download-attempts", "count", "a broken download goes on where it stopped"],
    ["network-control-plane-mtu", "count", swarm],
    ["swarm-default-advertise-addr", "text", swarm],
    ["node-generic-resources", "list", swarm, "node-generic-resource"],
    ["oom-score-adjust", "count", "systemd's OOMScoreAdjust= does it"],
    ["init-path", "text", "the init is catatonit, from Debian's package"],
    ["default-network-opts", "pairs", "give options to network create", "default-network-opt"],
    ["allow-nondistributable-artifacts", "list", "such layers are pushed as any other"],
    ["raw-logs", "switch", "Lading's log has no colours"],
    ["deprecated-key-path", "text", "Lading has no such key"],
  ] as const
).map(([key, kind, why, flag = key]) => ({ flag, key, kind, about: "", ignored: why }));

const refused: readonly DaemonKey[] = (
  [
    ["selinux-enabled", "switch", "Lading does not label files for SELinux"],
    ["cpu-rt-period", "count", "give it to each container"],
    ["cpu-rt-runtime", "count", "give it to each container"],
    ["rootless", "switch", "this daemon takes root"],
    ["exec-opts", "list", "control groups are always managed by cgroupfs", "exec-opt"],
    ["storage-opts", "list", "the storage driver has no options", "storage-opt"],
  ] as const
).map(([key, kind, why, flag = key]) => ({ flag, key, kind, about: "", refused: why }));

export const daemonKeys: readonly DaemonKey[] = [...used, ...ignored, ...refused];

/** The name of a setting in the file; undefined where it has none. */
export function keyOf({ key, flag }: DaemonKey): string | undefined {
  return key === undefined ? flag : key || undefined;
}

export const daemonUsage = `Usage:  lading daemon [OPTIONS]

Runs an engine in the foreground. It prints one line when it accepts requests; SIGTERM ends it.

Options:
${used.map(usageLine).join("\n")}
      --help                         Show this text

Each may stand in the file of --config-file instead. Docker's other settings are named in the manual.
`;

function usageLine({ flag, short, kind, about }: DaemonKey): string {
  const value = { text: " string", list: " list", switch: "", count: " int", bytes: " bytes" };
  const type = kind === "pairs" ? " list" : value[kind];
  return `  ${short ? `-${short},` : "   "} ${`--${flag}${type}`.padEnd(30)} ${about}`;
}
