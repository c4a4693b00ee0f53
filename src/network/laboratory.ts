/**
 * A host of its own for tests: a network namespace that this thread moves into, with an "outside" on
 * the other end of a link. Nothing a test does there can be seen from the machine's own network.
 */
import { Database } from "bun:sqlite";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import {
  addAddress,
  changeLink,
  closeNamespace,
  createNamespace,
  createVeth,
  currentNamespace,
  decodeLink,
  enterNamespace,
  getLink,
  type NetworkNamespace,
  openNamespace,
  openNetlink,
  run,
  runAny,
  withinNamespace,
} from "../sys/mod.ts";
import { parseAddress, toBytes } from "./address.ts";
import { ignoreReports, sendDatagram } from "./datagram.ts";
import { type NetworkOptions, openNetworkStore } from "./store.ts";
import type { NetworkSpec, NetworkStore, SandboxSpec } from "./types.ts";

export const hostAddress = "192.0.2.1";
export const hostAddress6 = "2001:db8::1";
export const outsideAddress = "192.0.2.2";

export interface Laboratory extends AsyncDisposable {
  readonly folder: string;
  readonly outside: NetworkNamespace;
  readonly bridge: string;
  open(options?: Partial<NetworkOptions>): Promise<NetworkStore>;
  /** Serves `text` on a port in a namespace, over HTTP, until the laboratory closes. */
  serve(netnsPath: string, port: number, text: string): Promise<void>;
  /** Answers each datagram with `text`. */
  serveUdp(netnsPath: string, port: number, text: string): Promise<void>;
  spawn(argv: string[]): Bun.Subprocess;
}

export async function openLaboratory(bridge = "labbr0"): Promise<Laboratory> {
  const home = currentNamespace();
  const [host, outside] = [createNamespace(), createNamespace()];
  enterNamespace(host);
  linkTo(outside);
  const folder = mkdtempSync("/tmp/lading-network-");
  const children: Bun.Subprocess[] = [];
  const sockets: { close(): void }[] = [];
  const spawn = (argv: string[]) => {
    const child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    children.push(child);
    return child;
  };
  const serving = async (netnsPath: string, argv: string[], port: string) => {
    spawn(["nsenter", `--net=${netnsPath}`, "busybox", ...argv]);
    await until(async () => (await inside(netnsPath, ["netstat", "-lntu"])).includes(`:${port} `));
  };
  return {
    folder,
    outside,
    bridge,
    spawn,
    open: (options) => openStore(folder, bridge, options),
    serve: async (netnsPath, port, text) => {
      const root = mkdtempSync(`${folder}/www-`);
      writeFileSync(`${root}/index.html`, text);
      await serving(netnsPath, ["httpd", "-f", "-p", `${port}`, "-h", root], `${port}`);
    },
    serveUdp: async (netnsPath, port, text) => {
      sockets.push(await answerUdp(netnsPath, port, text));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.close();
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(children.map((child) => child.exited));
      enterNamespace(home);
      for (const namespace of [home, host, outside]) closeNamespace(namespace);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** An engine's networks, with their state in `folder`. */
export function openStore(
  folder: string,
  bridge: string,
  options: Partial<NetworkOptions> = {},
): Promise<NetworkStore> {
  mkdirSync(folder, { recursive: true });
  const database = new Database(`${folder}/state.db`);
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = NORMAL");
  return openNetworkStore({ database, directory: `${folder}/network`, bridge, ...options });
}

/** A socket belongs to the namespace it was made in, and this thread can serve it from its own. */
async function answerUdp(netnsPath: string, port: number, text: string) {
  const namespace = openNamespace(netnsPath);
  let opening: Promise<Bun.udp.Socket<"buffer">> | undefined;
  withinNamespace(namespace, () => {
    const data = (own: Bun.udp.Socket<"buffer">, _data: Buffer, from: number, address: string) =>
      sendDatagram(() => own.send(text, from, address));
    const socket = { data, error: ignoreReports };
    opening = Bun.udpSocket({ hostname: "0.0.0.0", port, socket });
  });
  closeNamespace(namespace);
  return await opening!;
}

/** The host's `eth0` and the outside's, on one wire. */
function linkTo(outside: NetworkNamespace): void {
  using netlink = openNetlink();
  const far = { name: "eth0", namespaceFd: outside.fd };
  netlink.execute([changeLink(1), createVeth({ near: { name: "eth0" }, far })]);
  give("eth0", [`${hostAddress}/24`, `${hostAddress6}/64`]);
  withinNamespace(outside, () => {
    give("lo", []);
    give("eth0", [`${outsideAddress}/24`, "2001:db8::2/64"]);
  });
}

function give(name: string, addresses: readonly string[]): void {
  using netlink = openNetlink();
  const { index } = decodeLink(netlink.get(getLink(name)));
  const requests = addresses.map((text) => {
    const [address = "", prefix] = text.split("/");
    return addAddress({ index, address: toBytes(parseAddress(address)), prefix: Number(prefix) });
  });
  netlink.execute([...requests, changeLink(index)]);
}

/** What a busybox applet prints in a namespace; "" and the error when it fails. */
export async function inside(netnsPath: string, argv: string[]): Promise<string> {
  const command = ["nsenter", `--net=${netnsPath}`, "busybox", ...argv] as const;
  const { stdout, stderr } = await runAny([...command], { timeoutMs: 20_000 });
  return new TextDecoder().decode(stdout) || `failed: ${stderr.trim()}`;
}

const request = `exec 3<>/dev/tcp/$0/$1 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;

/** A page fetched in a namespace, or "failed: …". By bash: Debian's static busybox wget crashes. */
export async function fetchInside(netnsPath: string, url: string, seconds = 5): Promise<string> {
  const { hostname, port } = new URL(url);
  const address = hostname.replace(/^\[|\]$/g, "");
  const shell = ["timeout", `${seconds}`, "bash", "-c", request, address, port || "80"];
  const command = ["nsenter", `--net=${netnsPath}`, ...shell] as const;
  const { exitCode, stdout, stderr } = await runAny([...command], { timeoutMs: 20_000 });
  const answer = new TextDecoder().decode(stdout);
  if (exitCode !== 0 || !answer.includes("\r\n\r\n")) return `failed: ${exitCode} ${stderr}`;
  return answer.slice(answer.indexOf("\r\n\r\n") + 4);
}

/** That nothing answers there. Where something does, it takes milliseconds. */
export async function isOutOfReach(netnsPath: string, url: string): Promise<boolean> {
  return (await fetchInside(netnsPath, url, 1)).startsWith("failed");
}

/** As `fetchInside`, on the host. Not by `fetch`, whose thread is in the machine's own namespace. */
export function fetchHere(url: string): Promise<string> {
  return fetchInside("/proc/thread-self/ns/net", url);
}

/** What a datagram is answered with, within two seconds. */
export async function askUdp(hostname: string, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = await Bun.udpSocket({
    hostname: hostname.includes(":") ? "::" : "0.0.0.0",
    connect: { hostname, port },
    socket: { data: (_socket, data) => resolve(data.toString().trim()) },
  });
  socket.send("?");
  const timer = setTimeout(() => resolve("failed: no answer"), 2_000);
  const answer = await promise;
  clearTimeout(timer);
  socket.close();
  return answer;
}

/** Waits until it is so. @throws after ten seconds, so that a test fails and does not hang */
export async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (await check()) return;
    await Bun.sleep(20);
  }
  throw new Error("It did not become so within ten seconds");
}

/** Links and tables of this namespace, to see that nothing stayed. */
export async function leftovers(): Promise<string> {
  const links = await run(["ip", "-br", "link"], { timeoutMs: 5_000 });
  const tables = await run(["nft", "list", "tables"], { timeoutMs: 5_000 });
  return links
    .split("\n")
    .map((line) => line.split(/[\s@]/)[0]!)
    .concat(tables.split("\n"))
    .filter((name) => name !== "" && name !== "lo" && name !== "eth0")
    .join(", ");
}

let counter = 0;

/** A container on the default bridge, unless told otherwise. */
export function sandboxSpec(changes: Partial<SandboxSpec> = {}): SandboxSpec {
  const containerId = Buffer.from(`${counter++}-${process.pid}`).toString("hex").padEnd(64, "a");
  return {
    containerId,
    containerName: `name${counter}`,
    hostname: "inside",
    domainname: "",
    endpoints: [{ network: "bridge" }],
    ports: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    sysctl: {},
    ...changes,
  };
}

export function networkSpec(name: string, changes: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    name,
    driver: "bridge",
    internal: false,
    attachable: false,
    enableIPv4: true,
    enableIPv6: false,
    subnets: [],
    options: {},
    labels: {},
    ...changes,
  };
}
