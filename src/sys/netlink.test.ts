import { expect, test } from "bun:test";
import { Netlink } from "./netlink.ts";
import { fakeKernel } from "./netlink-fake.ts";
import {
  addAddress,
  changePort,
  createBridge,
  createVeth,
  decodeLink,
  deleteLink,
  getLink,
  listLinks,
  setDefaultRoute,
} from "./netlink-link.ts";
import { decodeAttributes, decodeMessages, encodeMessage, readText } from "./netlink-message.ts";
import { addElement, interfaceName, nftBatch, portNumber, removeElement } from "./nft-element.ts";

const bridge = (name: string) => createBridge({ name });

test("execute() numbers the requests and waits for each acknowledgement", () => {
  const kernel = fakeKernel();
  new Netlink(kernel).execute([bridge("one"), bridge("two")]);
  expect([...kernel.links.keys()]).toEqual(["lo", "one", "two"]);
  expect(kernel.received.map(({ sequence }) => sequence)).toEqual([1, 2]);
  expect(kernel.received.every(({ flags }) => (flags & 5) === 5)).toBe(true);
});

test("execute() throws what the first failed request failed of, after all were carried out", () => {
  const kernel = fakeKernel();
  const netlink = new Netlink(kernel);
  expect(() => netlink.execute([deleteLink("gone"), bridge("lo"), bridge("two")])).toThrow(
    'Cannot delete link "gone": ENODEV',
  );
  expect(kernel.links.has("two")).toBe(true);
});

test("attempt() says of each request what became of it", () => {
  const netlink = new Netlink(fakeKernel());
  const codes = netlink
    .attempt([bridge("one"), bridge("one"), deleteLink("gone")])
    .map((failure) => failure?.code);
  expect(codes).toEqual([undefined, "conflict", "not_found"]);
});

test("get() finds a link, and throws not_found for one that is not there", () => {
  const netlink = new Netlink(fakeKernel());
  const link = decodeLink(netlink.get(getLink("lo")));
  expect(link).toMatchObject({ index: 1, name: "lo", mtu: 1500, mac: "02:02:02:02:02:02" });
  expect(() => netlink.get(getLink("no"))).toThrow('Cannot find link "no": ENODEV');
});

test("dump() joins the datagrams of one answer", () => {
  const netlink = new Netlink(fakeKernel());
  netlink.execute(["a", "b", "c"].map(bridge));
  const names = netlink.dump(listLinks).map((message) => decodeLink(message).name);
  expect(names).toEqual(["lo", "a", "b", "c"]);
});

test("dump() asks again when the kernel says that the table changed meanwhile", () => {
  const kernel = fakeKernel({ tornDumps: 2 });
  expect(new Netlink(kernel).dump(listLinks)).toHaveLength(1);
  expect(kernel.received.length).toBeGreaterThan(1);
});

test("answers to other requests are passed over", () => {
  const stray = encodeMessage({ type: 2, flags: 0, sequence: 77, body: Buffer.alloc(20, 255) });
  const netlink = new Netlink(fakeKernel({ noise: [stray] }));
  netlink.execute([bridge("one")]);
  expect(decodeLink(netlink.get(getLink("one"))).index).toBe(2);
});

test("transact() encloses the requests, and fails as a whole", () => {
  const kernel = fakeKernel();
  const netlink = new Netlink(kernel);
  netlink.transact([bridge("one")], nftBatch);
  expect(kernel.received.map(({ type }) => type)).toEqual([16, 16, 17]);
  expect(() => netlink.transact([bridge("one")], nftBatch)).toThrow("EEXIST");
});

test.each([
  ["shorter than a header", 8],
  ["longer than the datagram", 400],
])("decodeMessages() refuses a message that is %s", (_what, length) => {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32LE(length);
  expect(() => decodeMessages(bytes)).toThrow("Cannot read a netlink message");
});

test("decodeAttributes() stops at an attribute that reaches past the end", () => {
  const bytes = Buffer.from([8, 0, 1, 0, 1, 2, 3, 4, 200, 0, 2, 0]);
  expect([...decodeAttributes(bytes).keys()]).toEqual([1]);
});

test("createVeth() puts the far end's name and namespace into the peer", () => {
  const { body } = createVeth({
    near: { name: "veth1", master: 7 },
    far: { name: "eth0", mac: "02:42:ac:11:00:02", namespaceFd: 9 },
  });
  const attributes = decodeAttributes(body, 16);
  expect(attributes.get(10)!.readUInt32LE()).toBe(7);
  const info = decodeAttributes(attributes.get(18)!);
  expect(readText(info.get(1))).toBe("veth");
  const peer = decodeAttributes(decodeAttributes(info.get(2)!).get(1)!, 16);
  expect(readText(peer.get(3))).toBe("eth0");
  expect(peer.get(28)!.readUInt32LE()).toBe(9);
  expect(peer.get(1)!.toString("hex")).toBe("0242ac110002");
});

test("addresses, routes and ports have the bytes that the kernel expects", () => {
  const address = Buffer.from([172, 17, 0, 2]);
  const hex = (body: Uint8Array) => Buffer.from(body).toString("hex");
  expect(hex(addAddress({ index: 2, address, prefix: 16 }).body)).toBe(
    "0210000002000000" + "08000200ac110002" + "08000100ac110002" + "08000400ac11ffff",
  );
  expect(hex(setDefaultRoute(2, address).body)).toBe(
    "02000000fe030001" + "00000000" + "08000500ac110002" + "0800040002000000",
  );
  expect(hex(changePort(5, { hairpin: true, isolated: false }).body)).toBe(
    "0700000005000000" + "0000000000000000" + "14000c80" + "0500040001000000" + "0500210000000000",
  );
});

test("elements of sets have their fields padded to four bytes, and intervals an end", () => {
  const base = { family: "ip", table: "t" } as const;
  const service = { ...base, set: "m", key: [Buffer.of(6), portNumber(8080)] };
  const { body } = addElement({ ...service, value: [Buffer.of(1, 2, 3, 4), portNumber(80)] });
  const list = decodeAttributes(decodeAttributes(body, 4).get(3)!).get(1)!;
  const element = decodeAttributes(list);
  const data = (type: number) => decodeAttributes(element.get(type)!).get(1)!.toString("hex");
  expect(data(1)).toBe("060000001f900000");
  expect(data(2)).toBe("0102030400500000");
  const single = removeElement({ ...base, set: "s", key: [interfaceName("br0")] }).body;
  expect(Buffer.from(single).toString("latin1")).toContain("br0\0\0\0");
});
