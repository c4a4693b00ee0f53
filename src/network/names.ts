/** Which names a container can ask for, and what they stand for; pure. */
import { cidrOf, contains, formatAddress, readAddress, toBytes } from "./address.ts";
import { recordType } from "./dns-message.ts";
import type { Endpoint } from "./types.ts";

/** What names are looked up in: the endpoints of each container that is there. */
export type Directory = ReadonlyMap<
  string,
  { readonly attachments: readonly { readonly endpoint: Endpoint }[] }
>;

/** Endpoints on the networks that the container shares with others, its own included. */
function* neighbours(directory: Directory, containerId: string): Generator<Endpoint> {
  const own = directory.get(containerId)?.attachments ?? [];
  const networks = new Set(
    own
      .filter(({ endpoint }) => endpoint.dnsNames.length > 0)
      .map(({ endpoint }) => endpoint.networkId),
  );
  for (const { attachments } of directory.values()) {
    for (const { endpoint } of attachments) if (networks.has(endpoint.networkId)) yield endpoint;
  }
}

/**
 * The addresses of a name, in random order so that clients spread over containers of one alias; empty
 * when the name is known but has none of this type; undefined when it is not ours to answer.
 */
export function addressesOf(
  directory: Directory,
  containerId: string,
  { name, type }: { readonly name: string; readonly type: number },
): Uint8Array[] | undefined {
  const around = [...neighbours(directory, containerId)];
  const aliased = linked(directory, containerId, name);
  const found = around.filter((one) => isCalled(one, name) || aliased(one));
  if (found.length === 0) return undefined;
  const texts = found.map(({ address, address6 }) =>
    type === recordType.a ? address : type === recordType.aaaa ? address6 : "",
  );
  const addresses = texts.map(readAddress).filter((address) => address !== undefined);
  return shuffled(addresses.map(toBytes));
}

/** Whether an endpoint is what the asker has linked under this name, on the same network. */
function linked(directory: Directory, containerId: string, name: string) {
  const links = (directory.get(containerId)?.attachments ?? []).flatMap(({ endpoint }) =>
    (endpoint.links ?? []).map((link) => {
      const [target = "", alias = target] = link.split(":");
      return { networkId: endpoint.networkId, target, alias: alias.toLowerCase() };
    }),
  );
  const mine = links.filter(({ alias }) => alias === name);
  return ({ networkId, dnsNames }: Endpoint) =>
    mine.some((link) => link.networkId === networkId && dnsNames.includes(link.target));
}

/** By a name of its own, or by one with the network behind it, as `web.backend`. */
function isCalled({ dnsNames, networkName }: Endpoint, name: string): boolean {
  const suffix = `.${networkName.toLowerCase()}`;
  return dnsNames.some((one) => {
    const own = one.toLowerCase();
    return own === name || own + suffix === name;
  });
}

/** The name of an address: `container.network`. */
export function nameOf(
  directory: Directory,
  containerId: string,
  address: string,
): string | undefined {
  const wanted = readAddress(address);
  if (!wanted) return undefined;
  const text = formatAddress(wanted);
  for (const endpoint of neighbours(directory, containerId)) {
    if (endpoint.address === text || endpoint.address6 === text) {
      return `${endpoint.dnsNames[0]}.${endpoint.networkName}`;
    }
  }
  return undefined;
}

/** Whether an address is of a network that the container is on with names. */
export function isOwnAddress(directory: Directory, containerId: string, address: string): boolean {
  const wanted = readAddress(address);
  const own = directory.get(containerId)?.attachments ?? [];
  return own.some(({ endpoint }) => {
    if (endpoint.dnsNames.length === 0 || !wanted) return false;
    const [text, prefix] =
      wanted.family === 4
        ? [endpoint.address, endpoint.prefix]
        : [endpoint.address6, endpoint.prefix6];
    const mine = readAddress(text);
    return mine !== undefined && contains(cidrOf(mine, prefix), wanted);
  });
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((value) => ({ value, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ value }) => value);
}
