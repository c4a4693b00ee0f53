import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { changeRules, removeTables, run } from "../sys/mod.ts";
import {
  fetchHere,
  fetchInside,
  hostAddress,
  isOutOfReach,
  type Laboratory,
  leftovers,
  networkSpec,
  openLaboratory,
  outsideAddress,
  sandboxSpec,
  until,
} from "./laboratory.ts";
import type { NetworkStore, Sandbox } from "./types.ts";
import { isAsMade } from "./user-rules.ts";

/** As ufw and most administrators have it: closed, but for what is asked for and for one port. */
const closedHost = `table ip host {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    tcp dport 8081 accept
  }
}`;
const ports = [8080, 8081].map((hostPort) => {
  return { containerPort: 80, protocol: "tcp", hostIp: "", hostPort } as const;
});

describe.skipIf(process.getuid?.() !== 0)("the host's firewall", () => {
  let laboratory: Laboratory;
  let store: NetworkStore;
  let web: Sandbox;
  const open = async (firewall: "publish" | "respect") => {
    store = await laboratory.open({ firewall });
    web = await store.open(sandboxSpec({ ports }));
    await laboratory.serve(web.netnsPath, 80, "web");
  };
  const out = (port: number) => `http://${hostAddress}:${port}/`;

  beforeEach(async () => {
    laboratory = await openLaboratory();
  });

  afterEach(async () => {
    await store.close(web.containerId);
    await store.shutdown();
    const left = await leftovers();
    await laboratory[Symbol.asyncDispose]();
    expect(left).toBe("");
  });

  test("decides about published ports with `respect`, for the outside alone", async () => {
    await open("respect");
    await changeRules(closedHost);
    expect(await isOutOfReach(laboratory.outside.path, out(8080))).toBe(true);
    expect(await fetchInside(laboratory.outside.path, out(8081))).toBe("web");
    expect(await fetchHere("http://127.0.0.1:8080/")).toBe("web");
    await store.create(networkSpec("other"));
    const other = await store.open(sandboxSpec({ endpoints: [{ network: "other" }] }));
    expect(await fetchInside(other.netnsPath, out(8080))).toBe("web");
    await removeTables([["ip", "host"]]);
    expect(await fetchInside(laboratory.outside.path, out(8080))).toBe("web");
    await store.close(other.containerId);
    await store.remove(store.resolve("other").id);
  });

  test("does not see published ports otherwise, as with Docker", async () => {
    await open("publish");
    await changeRules(closedHost);
    expect(await fetchInside(laboratory.outside.path, out(8080))).toBe("web");
    await removeTables([["ip", "host"]]);
  });

  test("still respects after the rules were flushed", async () => {
    await open("respect");
    await changeRules(closedHost);
    const list = () => run(["nft", "list", "tables"], { timeoutMs: 5_000 });
    await removeTables(
      ["ip", "ip6"].map((family) => [family, `lading-${laboratory.bridge}`] as const),
    );
    const next = await store.open(sandboxSpec()); // The rules are looked at after each.
    await until(async () => (await list()).includes(`ip lading-${laboratory.bridge}\n`));
    expect(await isOutOfReach(laboratory.outside.path, out(8080))).toBe(true);
    await store.close(next.containerId);
    await removeTables([["ip", "host"]]);
  });

  test("has a chain for an administrator's rules, which nobody else writes", async () => {
    await open("publish");
    const table = `lading-${laboratory.bridge}-user`;
    const { outside } = laboratory;
    await changeRules(`add rule inet ${table} forward ip saddr ${outsideAddress} drop\n`);
    expect(await isOutOfReach(outside.path, out(8080))).toBe(true);
    await store.close(web.containerId);
    await store.shutdown();
    await open("publish");
    expect(await isOutOfReach(outside.path, out(8080))).toBe(true);
    expect(await fetchHere("http://127.0.0.1:8080/")).toBe("web");
    await changeRules(`flush chain inet ${table} forward\n`);
    expect(await fetchInside(outside.path, out(8080))).toBe("web");
  });
});

const made = `table inet lading-user {
\tchain forward {
\t\ttype filter hook forward priority filter - 5; policy accept;
\t}
}
`;
test.each([
  [made, true],
  [made.replace("accept;", "accept;\n\t\tip saddr 10.0.0.1 drop"), false],
  [made.replace("\tchain", "\tset mine {\n\t\ttype ipv4_addr\n\t}\n\tchain"), false],
  [made.replace("chain forward", "chain mine"), false],
])("isAsMade() of a table as nft lists it: %#", (listing, expected) => {
  expect(isAsMade(listing)).toBe(expected);
});
