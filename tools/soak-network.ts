/**
 * What of the network the kernel has, against what an engine's database says: bridges, their ports, the
 * elements of the nftables, the namespaces, the addresses. It asks nobody who could be wrong the same way.
 */
import { Database } from "bun:sqlite";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { command, type TestEngine } from "../test/engine.ts";

interface Network {
  readonly id: string;
  readonly driver: string;
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
}

interface Sandbox {
  readonly spec: { readonly containerId: string };
  readonly inode: number;
  readonly attachments: readonly {
    readonly link: string;
    readonly endpoint: {
      readonly networkId: string;
      readonly address: string;
      readonly address6: string;
    };
  }[];
  readonly ports: readonly {
    readonly protocol: string;
    readonly hostIp: string;
    readonly hostPort: number;
  }[];
}

/** What the database says. */
export interface Recorded {
  readonly networks: readonly Network[];
  readonly sandboxes: readonly Sandbox[];
  /** `network address` */
  readonly addresses: readonly string[];
}

type Rule = { set?: NftSet; map?: NftSet };
type NftSet = { readonly name: string; readonly elem?: readonly unknown[] };

export function readRecords({ dataRoot }: TestEngine): Recorded {
  using database = new Database(join(dataRoot, "lading.db"), { readonly: true });
  const rows = <Row>(sql: string) => database.query<Row, []>(sql).all();
  const json = <Value>(table: string) =>
    rows<{ json: string }>(`SELECT json FROM ${table}`).map((row) => JSON.parse(row.json) as Value);
  return {
    networks: json<Network>("network_network"),
    sandboxes: json<Sandbox>("network_sandbox"),
    addresses: rows<{ network: string; address: string }>("SELECT * FROM network_address").map(
      ({ network, address }) => `${network} ${address}`,
    ),
  };
}

export function bridgeOf({ id, options }: Network): string {
  return options["com.docker.network.bridge.name"] ?? `br-${id.slice(0, 12)}`;
}

/** The names of all links of the host that are this engine's, for a later look whether they are gone. */
export function linksOf({ networks, sandboxes }: Recorded): string[] {
  const bridges = networks.filter(({ driver, name }) => driver === "bridge" && name !== "bridge");
  const ends = sandboxes.flatMap(({ attachments }) => attachments.map(({ link }) => link));
  return [...bridges.map(bridgeOf), ...ends.filter(Boolean)];
}

/** What kernel and database do not agree on; one line each. */
export async function disagreements(engine: TestEngine): Promise<string[]> {
  const recorded = readRecords(engine);
  return [
    ...compareLinks(engine, recorded),
    ...(await compareRules(engine, recorded)),
    ...compareNamespaces(engine, recorded),
    ...compareAddresses(recorded),
  ];
}

/** On each bridge the links of the containers on it, and no other. */
function compareLinks({ bridge }: TestEngine, { networks, sandboxes }: Recorded): string[] {
  const attachments = sandboxes.flatMap((one) => one.attachments);
  return networks
    .filter(({ driver }) => driver === "bridge")
    .flatMap((network) => {
      const name = network.name === "bridge" ? bridge : bridgeOf(network);
      const there = listFolder(`/sys/class/net/${name}/brif`);
      const wanted = attachments.flatMap(({ endpoint, link }) => {
        return endpoint.networkId === network.id && link ? [link] : [];
      });
      if (!existsSync(`/sys/class/net/${name}`)) return [`the bridge ${name} is absent`];
      return differences(`links on ${name}`, there, wanted);
    });
}

/** The sets of bridges and of published ports, in both families. */
async function compareRules(engine: TestEngine, recorded: Recorded): Promise<string[]> {
  const problems: string[] = [];
  const bridges = recorded.networks
    .filter(({ driver }) => driver === "bridge")
    .map((network) => (network.name === "bridge" ? engine.bridge : bridgeOf(network)));
  for (const family of ["ip", "ip6"]) {
    const { code, stdout } = await command(
      ["nft", "-j", "list", "table", family, `lading-${engine.bridge}`],
      { env: {} },
    );
    if (code !== 0) {
      problems.push(`the table ${family} lading-${engine.bridge} is absent`);
      continue;
    }
    const { nftables } = JSON.parse(stdout) as { nftables: Rule[] };
    const sets = nftables.flatMap(({ set, map }) => set ?? map ?? []);
    const elements = (name: string) => sets.find((one) => one.name === name)?.elem ?? [];
    const found = [...elements("publish_any"), ...elements("publish_ip")].map(portOf);
    const wanted = recorded.sandboxes.flatMap(({ ports, attachments }) => {
      const isOn = attachments.some(({ endpoint }) =>
        family === "ip" ? endpoint.address : endpoint.address6,
      );
      const own = ports.filter(({ hostIp }) => hostIp.includes(":") === (family === "ip6"));
      return isOn ? own.map(({ protocol, hostPort }) => `${protocol} ${hostPort}`) : [];
    });
    problems.push(...differences(`${family} bridges`, elements("bridges").map(String), bridges));
    problems.push(...differences(`${family} ports`, found, wanted));
  }
  return problems;
}

/** `tcp 80` of an element `[{concat: [address?, "tcp", 80]}, target]`. */
function portOf(element: unknown): string {
  const [{ concat }] = element as [{ concat: unknown[] }];
  return concat.slice(-2).join(" ");
}

/** The daemon holds the namespace of each sandbox, and at most one more, made ahead. */
function compareNamespaces({ pid }: TestEngine, { sandboxes }: Recorded): string[] {
  const folder = `/proc/${pid}/fd`;
  const held = listFolder(folder).flatMap((fd) => {
    try {
      return /^net:\[(\d+)\]$/.exec(readlinkSync(`${folder}/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed while we looked
    }
  });
  const wanted = sandboxes.map(({ inode }) => String(inode)).filter((inode) => inode !== "0");
  const missing = wanted.filter((inode) => !held.includes(inode));
  const more = new Set(held.filter((inode) => !wanted.includes(inode)));
  return [
    ...missing.map((inode) => `the namespace ${inode} is not held`),
    ...(more.size > 1 ? [`${more.size} namespaces without a container`] : []),
  ];
}

/** An address is given as long as an endpoint has it. */
function compareAddresses({ sandboxes, addresses }: Recorded): string[] {
  const wanted = sandboxes.flatMap(({ attachments }) =>
    attachments.flatMap(({ endpoint: { networkId, address, address6 } }) =>
      [address, address6].filter(Boolean).map((text) => `${networkId} ${text}`),
    ),
  );
  return differences("addresses", addresses, wanted);
}

function differences(what: string, found: readonly string[], wanted: readonly string[]): string[] {
  const more = found.filter((one) => !wanted.includes(one));
  const less = wanted.filter((one) => !found.includes(one));
  return [
    ...(more.length > 0 ? [`${what} too many: ${more.join(", ")}`] : []),
    ...(less.length > 0 ? [`${what} missing: ${less.join(", ")}`] : []),
  ];
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // it is gone
  }
}
