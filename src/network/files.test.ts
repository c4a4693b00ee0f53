import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import {
  extraLines,
  hostResolving,
  hostsText,
  ownLines,
  parseResolvConf,
  removeFiles,
  resolvConfText,
  resolvingOf,
  writeFiles,
} from "./files.ts";

test("parseResolvConf() reads servers, the last search list, and options", () => {
  const text =
    "# x\nnameserver 1.1.1.1 # y\nnameserver\tfd00::1\ndomain a\nsearch b c\noptions ndots:2 rotate\n";
  expect(parseResolvConf(text)).toEqual({
    nameservers: ["1.1.1.1", "fd00::1"],
    search: ["b", "c"],
    options: ["ndots:2", "rotate"],
  });
});

const resolving = (changes: object) => ({
  nameservers: ["10.0.0.53"],
  search: [],
  options: [],
  overrides: [],
  ...changes,
});
const settings = (text: string) => text.split("\n").filter((line) => /^[a-z]/.test(line));

test("resolvConfText() leaves local servers out, and falls back to public ones", () => {
  const mixed = resolving({ nameservers: ["127.0.0.53", "::1", "9.9.9.9"] });
  expect(settings(resolvConfText(mixed, "bridge"))).toEqual(["nameserver 9.9.9.9"]);
  const local = resolving({ nameservers: ["127.0.0.53"] });
  const fallback = ["nameserver 8.8.8.8", "nameserver 8.8.4.4"];
  expect(settings(resolvConfText(local, "bridge"))).toEqual(fallback);
  expect(settings(resolvConfText(local, "host"))).toEqual(["nameserver 127.0.0.53"]);
});

test("resolvConfText() names 127.0.0.11 on networks with names, and where it asks on", () => {
  const text = resolvConfText(
    resolving({ search: ["a", "b"], nameservers: ["127.0.0.1"] }),
    "embedded",
  );
  expect(settings(text)).toEqual(["nameserver 127.0.0.11", "search a b", "options ndots:0"]);
  expect(text).toContain("# ExtServers: [host(127.0.0.1)]");
  const own = resolvConfText(resolving({ options: ["ndots:3"] }), "embedded");
  expect(settings(own)).toEqual(["nameserver 127.0.0.11", "options ndots:3"]);
});

test("resolvingOf() prefers the container's settings, then the daemon's", () => {
  const none = { dns: [], dnsSearch: [], dnsOptions: [] };
  expect(resolvingOf(none, ["5.5.5.5"]).nameservers).toEqual(["5.5.5.5"]);
  const own = { dns: ["6.6.6.6"], dnsSearch: ["."], dnsOptions: ["rotate"] };
  expect(resolvingOf(own, ["5.5.5.5"])).toEqual({
    nameservers: ["6.6.6.6"],
    search: [],
    options: ["rotate"],
    overrides: ["nameservers", "search", "options"],
  });
});

test("hostsText() has Docker's lines, then the extra hosts, then the container", () => {
  const extra = extraLines(
    [
      ["gw", "host-gateway"],
      ["db", "10.0.0.9"],
    ],
    ["172.17.0.1", "fd00::1"],
  );
  expect(ownLines({ hostname: "a.b.c", domainname: "" }, ["10.0.0.1"])).toEqual([
    { address: "10.0.0.1", names: "a.b.c a" },
  ]);
  const own = ownLines({ hostname: "web", domainname: "example.org" }, ["172.17.0.2", ""]);
  expect(hostsText([...extra, ...own]).split("\n")).toEqual([
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
    "172.17.0.1\tgw",
    "fd00::1\tgw",
    "10.0.0.9\tdb",
    "172.17.0.2\tweb.example.org web",
    "",
  ]);
});

test("writeFiles() keeps the inode, which a container may have mounted", () => {
  const folder = mkdtempSync("/tmp/lading-files-");
  const first = writeFiles(folder, "c", {
    hosts: "a much longer text\n",
    hostname: "h\n",
    resolvConf: "",
  });
  const { ino } = statSync(first.hostsPath);
  writeFiles(folder, "c", { hosts: "b\n" });
  expect(readFileSync(first.hostsPath, "utf8")).toBe("b\n");
  expect(statSync(first.hostsPath).ino).toBe(ino);
  removeFiles(folder, "c");
  removeFiles(folder, "c");
  expect(() => statSync(`${folder}/files/c`)).toThrow();
  rmSync(folder, { recursive: true });
});

test("removeFiles() takes away what a removal that was cut off left", () => {
  const folder = mkdtempSync("/tmp/lading-files-");
  const { hostsPath } = writeFiles(folder, "c", { hosts: "h\n", hostname: "c\n", resolvConf: "" });
  rmSync(hostsPath);
  removeFiles(folder, "c");
  expect(existsSync(`${folder}/files/c`)).toBe(false);
  removeFiles(folder, "c");
  rmSync(folder, { recursive: true });
});

test("hostResolving() looks behind systemd-resolved for containers, and asks it for the host", () => {
  const files: Record<string, string> = {
    "/etc/resolv.conf": "nameserver 127.0.0.53\noptions edns0\nsearch lan\n",
    "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.53\nsearch lan\n",
  };
  const readFile = (path: string) => files[path] ?? "";
  expect(hostResolving("container", readFile).nameservers).toEqual(["192.0.2.53"]);
  expect(hostResolving("host", readFile).nameservers).toEqual(["127.0.0.53"]);
});
