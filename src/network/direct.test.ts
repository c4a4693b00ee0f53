/** What a published port is for the kernel, by the ways that lead to it. */
import { expect, test } from "bun:test";
import { defineDefaultBridge } from "./default-bridge.ts";
import { plansOf } from "./define.ts";
import { Ports, type Publisher } from "./ports.ts";

const publisher: Publisher = {
  endpointName: "one",
  address: "10.1.0.2",
  address6: "",
  hostBinding: "",
  modes: { 4: "nat", 6: "nat" },
  direct: "none",
};

for (const [direct, hostIp, sets] of [
  ["none", "127.0.0.2", ["publish_ip"]],
  ["all", "127.0.0.2", ["publish_ip"]],
  ["none", "0.0.0.0", ["publish_any"]],
  ["trusted", "0.0.0.0", ["publish_any", "direct_ports"]],
  ["all", "0.0.0.0", ["publish_any", "routed_ports"]],
] as const) {
  const ports = new Ports("t", { hostSocket: undefined, others: () => [] });
  test(`a port on ${hostIp} is in ${sets} when routes lead in by ${direct}`, async () => {
    const port = { containerPort: 80, protocol: "tcp", hostIp, hostPort: 0 } as const;
    const bound = await ports.bindAll([port], { ...publisher, direct });
    const four = bound.filter(({ port }) => !port.hostIp.includes(":"));
    expect(four.flatMap(({ elements }) => elements.map(({ set }) => set))).toEqual([...sets]);
    for (const binding of bound) binding.close();
  });
}

test("defineDefaultBridge() takes a way out that is not the bridge, inside of its subnet", () => {
  const { ipv4 } = defineDefaultBridge({ bip: "10.1.0.1/24", gateway: "10.1.0.254" });
  expect(ipv4).toEqual({
    subnet: "10.1.0.0/24",
    gateway: "10.1.0.1",
    auxAddresses: { DefaultGatewayIPv4: "10.1.0.254" },
  });
  expect(plansOf({ subnets: [ipv4!] })[0]!.way.value & 255n).toBe(254n);
  expect(() => defineDefaultBridge({ bip: "10.1.0.1/24", gateway: "10.2.0.1" })).toThrow(
    'Cannot use "default-gateway" 10.2.0.1: it is not in 10.1.0.0/24',
  );
  expect(() => defineDefaultBridge({ gateway: "10.2.0.1" })).toThrow("subnet is open");
  const six = { fixedCidr6: "fd00:1::/64", gateway6: "fd00:1::9" };
  expect(defineDefaultBridge({ ipv6: true, ...six }).ipv6?.auxAddresses).toEqual({
    DefaultGatewayIPv6: "fd00:1::9",
  });
});
