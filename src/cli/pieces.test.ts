/** Small pure parts of commands. */
import { describe, expect, test } from "bun:test";
import { openArchive } from "./archive-output.ts";
import { portsText } from "./container-listing.ts";
import { startExitCode } from "./create-container.ts";
import { eventText } from "./events.ts";
import { namedImages } from "./image-listing.ts";
import { parseFilters } from "./key-values.ts";
import { addressing, holds } from "./network-create.ts";
import { resolve } from "./paths.ts";
import { liveText, plainText } from "./progress.ts";
import { fullName } from "./pull.ts";
import { readReference, splitReference } from "./reference.ts";
import { measure } from "./stats-reading.ts";
import { timeArgument } from "./time-argument.ts";

const now = Date.parse("2026-11-21T10:00:00.250Z");
const times: [text: string, seconds: string][] = [
  ["", ""],
  ["1700000000", "1700000000"],
  ["1700000000.5", "1700000000.5"],
  ["10s", "1795255190.250000000"],
  ["1h30m", "1795249800.250000000"],
  ["2026-11-21T10:00:00Z", "1795255200.000000000"],
  ["2026-11-21T10:00:00.123456789Z", "1795255200.123456789"],
  ["2026-11-21T10:00:00+01:00", "1795251600.000000000"],
  ["2026-11-21T10:00Z", "1795255200.000000000"],
];
for (const [text, seconds] of times) {
  test(`timeArgument() reads "${text}"`, () => {
    const [whole = "", fraction] = timeArgument(text, now).split(".");
    const [wanted = "", wantedFraction] = seconds.split(".");
    expect(whole).toBe(wanted);
    expect(fraction?.slice(0, 3)).toBe(wantedFraction?.slice(0, 3) as string);
  });
}
test("timeArgument() refuses what is no time", () => {
  expect(() => timeArgument("yesterday", now)).toThrow("failed to parse value as time");
  expect(() => timeArgument("2026-13-41", now)).toThrow("failed to parse value as time");
});

const port = (PrivatePort: number, PublicPort?: number, IP?: string, Type = "tcp" as const) => ({
  PrivatePort,
  Type,
  ...(PublicPort ? { PublicPort } : {}),
  ...(IP ? { IP } : {}),
});
const portTables: [ports: ReturnType<typeof port>[], text: string][] = [
  [[], ""],
  [[port(80)], "80/tcp"],
  [[port(80, 8080, "0.0.0.0"), port(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"],
  [[port(80, 80, "0.0.0.0"), port(81, 81, "0.0.0.0")], "0.0.0.0:80-81->80-81/tcp"],
  [[port(80), port(81), port(83)], "80-81/tcp, 83/tcp"],
  [[port(443), port(80, 8080, "0.0.0.0")], "443/tcp, 0.0.0.0:8080->80/tcp"],
];
for (const [ports, text] of portTables) {
  test(`portsText() shows "${text}"`, () => {
    expect(portsText(ports)).toBe(text);
  });
}

test("eventText() keeps all nanoseconds", () => {
  const line =
    '{"Type":"container","Action":"start","Actor":{"ID":"841a","Attributes":{"name":"one","image":"b"}},"scope":"local","time":1795259650,"timeNano":1795259650013383007}';
  const text = eventText(line);
  expect(text).toContain(".013383007");
  expect(text).toEndWith(" container start 841a (image=b, name=one)");
});

const exits: [message: string, code: number][] = [
  ['exec: "nope": executable file not found in $PATH', 127],
  ['exec "/x": no such file or directory', 127],
  ['exec: "/bin": permission denied', 126],
  ['exec: "/bin": is a directory', 126],
  ["No command specified", 125],
];
for (const [message, code] of exits) {
  test(`startExitCode() is ${code} for ${message}`, () => {
    expect(startExitCode(message)).toBe(code);
  });
}

test("openArchive() says of a folder that it is one", async () => {
  await expect(openArchive(import.meta.dir)).rejects.toThrow("/src/cli: is a directory");
  await expect(openArchive("/no/such")).rejects.toThrow("open /no/such: no such file or directory");
});

test("parseFilters() collects values by name and refuses a lone name", () => {
  expect(parseFilters(["Label=a=b", "label=c", "status=exited", ""])).toEqual({
    label: ["a=b", "c"],
    status: ["exited"],
  });
  expect(() => parseFilters(["label"])).toThrow("bad format of filter (expected name=value)");
});

describe("addressing()", () => {
  const none = { subnet: [], gateway: [], "ip-range": [], "aux-address": [] };
  test("joins gateways, ranges and reserved addresses to their subnets", () => {
    expect(
      addressing({
        subnet: ["10.0.0.0/24", "fd00::/64"],
        gateway: ["fd00::1", "10.0.0.1"],
        "ip-range": ["10.0.0.128/25"],
        "aux-address": ["a=10.0.0.5"],
      }),
    ).toEqual([
      {
        Subnet: "10.0.0.0/24",
        IPRange: "10.0.0.128/25",
        Gateway: "10.0.0.1",
        AuxiliaryAddresses: { a: "10.0.0.5" },
      },
      { Subnet: "fd00::/64", Gateway: "fd00::1" },
    ]);
  });
  test("refuses what belongs to no subnet", () => {
    expect(() => addressing({ ...none, gateway: ["1.2.3.4"] })).toThrow("corresponding subnet");
    expect(() => addressing({ ...none, subnet: ["10.0.0.0/24"], gateway: ["10.0.1.1"] })).toThrow(
      "no matching subnet for gateway 10.0.1.1",
    );
  });
});

const subnets: [subnet: string, address: string, inside: boolean][] = [
  ["10.0.0.0/8", "10.255.0.1", true],
  ["10.0.0.0/8", "11.0.0.1", false],
  ["0.0.0.0/0", "1.2.3.4", true],
  ["192.168.1.0/31", "192.168.1.2", false],
  ["fd00::/64", "fd00::abcd", true],
  ["fd00::/64", "fd00:0:0:1::1", false],
  ["10.0.0.0/8", "fd00::1", false],
  ["10.0.0.0", "10.0.0.1", false],
];
for (const [subnet, address, inside] of subnets) {
  test(`holds() says that ${address} is ${inside ? "" : "not "}in ${subnet}`, () => {
    expect(holds(subnet, address)).toBe(inside);
  });
}

const references: [image: string, name: string, tag: string | undefined][] = [
  ["busybox", "busybox", undefined],
  ["busybox:1", "busybox", "1"],
  ["host:5000/a/b", "host:5000/a/b", undefined],
  ["host:5000/a:t", "host:5000/a", "t"],
  ["a@sha256:12", "a", "sha256:12"],
];
for (const [image, name, tag] of references) {
  test(`splitReference() takes ${image} apart`, () => {
    expect(splitReference(image)).toEqual({ name, tag });
    expect(readReference(image)).toEqual({ name, tag });
  });
}
for (const image of ["", ":x", "busybox:", "host:5000/a:", "busybox@"]) {
  test(`readReference() refuses "${image}"`, () => {
    expect(() => readReference(image)).toThrow("invalid reference format");
  });
}

test("fullName() puts the registry in front", () => {
  expect(fullName("busybox:1")).toBe("docker.io/library/busybox:1");
  expect(fullName("me/app:1")).toBe("docker.io/me/app:1");
  expect(fullName("localhost/app:1")).toBe("localhost/app:1");
  expect(fullName("r.io:5000/app:1")).toBe("r.io:5000/app:1");
});

test("resolve() cleans as a shell would", () => {
  expect(resolve("a/../b/./c/", "/x")).toBe("/x/b/c");
  expect(resolve("../../..", "/x/y")).toBe("/");
  expect(resolve("/a//b", "/x")).toBe("/a/b");
});

describe("progress", () => {
  const moving = { id: "l1", status: "Downloading", progressDetail: { current: 50, total: 100 } };
  test("plainText() leaves out what only moves a bar", () => {
    expect(plainText(moving)).toBe("");
    expect(plainText({ id: "l1", status: "Pull complete" })).toBe("l1: Pull complete\n");
    expect(plainText({ stream: "Step 1/2 : FROM x\n" })).toBe("Step 1/2 : FROM x\n");
  });
  test("liveText() rewrites the row of an ID", () => {
    const rows = new Map<string, number>();
    expect(liveText({ id: "l1", status: "Waiting" }, rows)).toBe("l1: Waiting\n");
    expect(liveText({ id: "l2", status: "Waiting" }, rows)).toBe("l2: Waiting\n");
    const text = liveText(moving, rows);
    expect(text).toStartWith("\x1b[2A\r\x1b[2Kl1: Downloading [=====");
    expect(text).toEndWith("50B/100B\n\x1b[1B");
  });
});

test("namedImages() gives a row for each name, and one to an image without", () => {
  const image = {
    Id: "sha256:1",
    ParentId: "",
    Created: 1,
    Size: 1,
    SharedSize: -1,
    Labels: null,
    Containers: -1,
  };
  const rows = namedImages(
    [
      { ...image, RepoTags: ["a:1", "a:2"], RepoDigests: ["a@sha256:d"] },
      { ...image, RepoTags: [], RepoDigests: ["b@sha256:e"] },
      { ...image, RepoTags: [], RepoDigests: [] },
    ],
    true,
  );
  const shown = rows.map(({ repository, tag, digest }) => `${repository} ${tag} ${digest}`);
  expect(shown).toEqual([
    "a 1 sha256:d",
    "a 2 sha256:d",
    "b <none> sha256:e",
    "<none> <none> <none>",
  ]);
});

test("measure() makes rates of counters", () => {
  const cpu = (total: number, system: number) => ({
    cpu_usage: { total_usage: total, usage_in_kernelmode: 0, usage_in_usermode: 0 },
    system_cpu_usage: system,
    online_cpus: 2,
    throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
  });
  const reading = measure("one", {
    name: "/one",
    id: "841a",
    read: "",
    preread: "",
    num_procs: 0,
    pids_stats: { current: 3 },
    blkio_stats: {
      io_service_bytes_recursive: [
        { major: 8, minor: 0, op: "Read", value: 10 },
        { major: 8, minor: 0, op: "write", value: 20 },
      ],
    },
    storage_stats: {},
    cpu_stats: cpu(300, 2000),
    precpu_stats: cpu(100, 1000),
    memory_stats: { usage: 100, limit: 1000, stats: { inactive_file: 40 } },
    networks: { eth0: { rx_bytes: 1, tx_bytes: 2 }, eth1: { rx_bytes: 10, tx_bytes: 20 } },
  });
  expect(reading).toMatchObject({ name: "one", cpu: 40, memory: 60, received: 11, sent: 22 });
  expect(reading).toMatchObject({ readBytes: 10, writtenBytes: 20, processes: 3 });
});
