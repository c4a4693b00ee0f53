import { expect, test } from "bun:test";
import { formatCidr, parseCidr } from "./address.ts";
import {
  bridgeOptions,
  checkSpec,
  chooseSubnet,
  defineSubnets,
  parseAddressPool,
  plansOf,
} from "./define.ts";
import type { Network, NetworkSpec } from "./types.ts";

const spec = (changes: Partial<NetworkSpec> = {}): NetworkSpec => ({
  name: "web",
  driver: "bridge",
  internal: false,
  attachable: false,
  enableIPv4: true,
  enableIPv6: false,
  subnets: [],
  options: {},
  labels: {},
  ...changes,
});
const network = (changes: Partial<Network> = {}): Network => ({
  ...spec({ name: "other", subnets: [{ subnet: "172.18.0.0/16", gateway: "172.18.0.1" }] }),
  id: "0123456789abcdef",
  created: "",
  predefined: false,
  ...changes,
});
const nowhere = { networks: [], routes: [], interfaces: [] };

test("chooseSubnet() passes over what overlaps, first among /16, then among /20", () => {
  expect(formatCidr(chooseSubnet([]))).toBe("172.17.0.0/16");
  expect(formatCidr(chooseSubnet([parseCidr("172.17.3.0/24")]))).toBe("172.18.0.0/16");
  expect(formatCidr(chooseSubnet([parseCidr("172.16.0.0/12")]))).toBe("192.168.0.0/20");
  const all = ["172.16.0.0/12", "192.168.0.0/16"].map(parseCidr);
  expect(() => chooseSubnet(all)).toThrow("all predefined address pools have been fully subnetted");
});

test("defineSubnets() fills in a gateway, and an IPv6 subnet of fd00::/8", () => {
  const own = [{ subnet: "10.1.2.3/24" }];
  expect(defineSubnets(spec({ subnets: own }), nowhere)).toEqual([
    { subnet: "10.1.2.0/24", gateway: "10.1.2.1" },
  ]);
  const both = defineSubnets(spec({ enableIPv6: true }), { ...nowhere, networks: [network()] });
  expect(both[0]!.subnet).toBe("172.17.0.0/16");
  expect(both[1]!.subnet).toMatch(/^fd[0-9a-f:]+::\/64$/);
});

test("defineSubnets() leaves a subnet out whose family is off", () => {
  const subnets = [{ subnet: "fd11::/64" }, { subnet: "10.0.0.0/24" }];
  expect(defineSubnets(spec({ subnets }), nowhere)).toHaveLength(1);
});

test.each([
  [{ subnet: "10.0.0.0/24", gateway: "10.0.1.1" }, "no matching subnet for address 10.0.1.1"],
  [{ subnet: "10.0.0.0/24", ipRange: "10.0.1.0/25" }, "invalid ip-range"],
  [{ subnet: "10.0.0.0/24", ipRange: "10.0.0.0/16" }, "invalid ip-range"],
  [{ subnet: "10.0.0.0/24", auxAddresses: { a: "10.9.0.1" } }, "no matching subnet"],
  [{ subnet: "nonsense" }, "invalid CIDR address: nonsense"],
  [{ subnet: "", gateway: "10.0.0.1" }, "must have a corresponding subnet"],
])("defineSubnets() refuses %p", (subnet, message) => {
  expect(() => defineSubnets(spec({ subnets: [subnet] }), nowhere)).toThrow(message);
});

test("defineSubnets() refuses a subnet of another network, of the host, and one given twice", () => {
  const own = (subnet: string) => spec({ subnets: [{ subnet }] });
  const message = "Pool overlaps with other one on this address space";
  const around = { ...nowhere, networks: [network()], interfaces: [parseCidr("10.0.0.0/8")] };
  expect(() => defineSubnets(own("172.18.9.0/24"), around)).toThrow(message);
  expect(() => defineSubnets(own("10.5.0.0/16"), around)).toThrow(message);
  const twice = spec({ subnets: [{ subnet: "10.1.0.0/16" }, { subnet: "10.1.2.0/24" }] });
  expect(() => defineSubnets(twice, nowhere)).toThrow(message);
});

test("defineSubnets() takes a link-local subnet, which interfaces of the host have too", () => {
  const around = { ...nowhere, interfaces: [parseCidr("fe80::/64")] };
  const own = spec({ enableIPv4: false, enableIPv6: true, subnets: [{ subnet: "fe80::/64" }] });
  expect(defineSubnets(own, around)).toEqual([{ subnet: "fe80::/64", gateway: "fe80::1" }]);
  const networks = [network({ ...own, name: "other" })];
  expect(() => defineSubnets(own, { ...around, networks })).toThrow("Pool overlaps");
});

test("plansOf() takes addresses from the range, when there is one", () => {
  const [plan] = plansOf({ subnets: [{ subnet: "10.0.0.0/16", ipRange: "10.0.5.0/24" }] });
  expect(formatCidr(plan!.range)).toBe("10.0.5.0/24");
});

const refused: [Partial<NetworkSpec>, string][] = [
  [{ name: "web" }, "network with name web already exists"],
  [{ name: "bridge" }, "operation is not permitted on predefined bridge network"],
  [{ name: "default" }, "operation is not permitted on predefined default network"],
  [{ name: " " }, "invalid network name"],
  [{ driver: "host" }, 'only one instance of "host" network is allowed'],
  [{ enableIPv4: false }, "IPv4 or IPv6 must be enabled"],
];
test.each(refused)("checkSpec() refuses %p", (changes, message) => {
  const taken = changes.name === "web" ? [network({ name: "web" })] : [];
  expect(() => checkSpec(spec({ ...changes }), taken)).toThrow(message);
});

const plain = {
  inhibitIPv4: false,
  trusted: [],
  modes: { 4: "nat", 6: "nat" },
  sources: { 4: undefined, 6: undefined },
} as const;

test("bridgeOptions() reads Docker's options, and names the bridge by the network's ID", () => {
  const prefix = "com.docker.network.bridge";
  expect(bridgeOptions({ id: "0123456789abcdef", options: {} })).toEqual({
    bridge: "br-0123456789ab",
    icc: true,
    masquerade: true,
    hostBinding: "",
    mtu: 1500,
    ...plain,
  });
  const options = {
    [`${prefix}.name`]: "mine",
    [`${prefix}.enable_icc`]: "0",
    [`${prefix}.enable_ip_masquerade`]: "false",
    [`${prefix}.host_binding_ipv4`]: "127.0.0.1",
    "com.docker.network.driver.mtu": "9000",
  };
  expect(bridgeOptions({ id: "", options })).toEqual({
    bridge: "mine",
    icc: false,
    masquerade: false,
    hostBinding: "127.0.0.1",
    mtu: 9000,
    ...plain,
  });
});

test.each([
  ["com.docker.network.bridge.name", "a/b"],
  ["com.docker.network.bridge.name", "a name far too long for one"],
  ["com.docker.network.bridge.enable_icc", "maybe"],
  ["com.docker.network.driver.mtu", "1"],
  ["com.docker.network.bridge.gateway_mode_ipv4", "maybe"],
  ["com.docker.network.host_ipv4", "::1"],
  ["com.docker.network.bridge.host_binding_ipv4", "here"],
])("bridgeOptions() refuses %s=%s", (name, value) => {
  expect(() => bridgeOptions({ id: "", options: { [name]: value } })).toThrow();
});

test("chooseSubnet() takes the first part of the pools that nobody has", () => {
  const pools = ["base=10.9.0.0/16,size=24", "base=10.10.0.0/24,size=24"].map(parseAddressPool);
  const taken = ["10.9.0.0/23", "172.17.0.0/16", "10.9.2.128/25"].map(parseCidr);
  expect(formatCidr(chooseSubnet(taken, pools))).toBe("10.9.3.0/24");
  expect(formatCidr(chooseSubnet([parseCidr("10.9.0.0/16")], pools))).toBe("10.10.0.0/24");
  expect(() => chooseSubnet([parseCidr("10.0.0.0/8")], pools)).toThrow("fully subnetted");
});

test.each([
  "",
  "base=10.0.0.0/16",
  "base=10.0.0.0/16,size=8",
  "base=x,size=24",
  "size=24,base=10.0.0.0/16,x=1",
])("parseAddressPool() refuses %p", (text) => {
  expect(() => parseAddressPool(text)).toThrow();
});
