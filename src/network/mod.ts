/**
 * Networks: bridges, addresses, names and ports. A container's place on them is a sandbox: a network
 * namespace with its interfaces, the host's ports that lead into it, and the files that name things.
 * It knows no container beyond an ID and a name. rtnetlink and nftables by netlink; no process per
 * container, no iptables. docs/design/network.md says why it is as it is.
 */

export { checkAddress, formatCidr } from "./address.ts";
export { type DefaultBridge, defineDefaultBridge } from "./default-bridge.ts";
export { type AddressPool, parseAddressPool } from "./define.ts";
export { parseExtraHost } from "./extra-host.ts";
export { type NetworkOptions, openNetworkStore } from "./store.ts";
export type {
  BoundPort,
  Endpoint,
  EndpointSpec,
  Network,
  NetworkSpec,
  NetworkStore,
  Party,
  PortSpec,
  Question,
  Sandbox,
  SandboxSpec,
  Subnet,
  WhyStep,
} from "./types.ts";
