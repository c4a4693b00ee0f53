import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readDaemonFile, readSettings } from "./daemon-file.ts";
import { daemonKeys, keyOf } from "./daemon-keys.ts";
import { parseDaemonOptions } from "./options.ts";

const read = (json: object) =>
  Object.fromEntries(readDaemonFile(JSON.stringify(json), "/etc/lading/daemon.json"));

function withFile<T>(json: object, task: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "lading-daemon-file-"));
  try {
    writeFileSync(join(folder, "daemon.json"), JSON.stringify(json));
    return task(join(folder, "daemon.json"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const shapes: [object, Record<string, string[]>][] = [
  [{ hosts: ["unix:///a", "fd://"] }, { host: ["unix:///a", "fd://"] }],
  [
    { debug: true, mtu: 1400 },
    { debug: ["true"], mtu: ["1400"] },
  ],
  [{ "log-opts": { "max-size": "1m" } }, { "log-opt": ["max-size=1m"] }],
  [{ proxies: { "no-proxy": "a,b" } }, { "no-proxy": ["a,b"] }],
  [{ runtimes: { kata: { path: "/k" } } }, { "add-runtime": ["kata=/k"] }],
  [
    { runtimes: { kata: { path: "/k", runtimeArgs: ["--debug"] } } },
    { "add-runtime": ['kata=["/k","--debug"]'] },
  ],
  [
    {
      runtimes: { r: { runtimeType: "io.containerd.runc.v2", options: { BinaryName: "/k" } } },
    },
    { "add-runtime": ["r=/k"] },
  ],
  [
    { "default-ulimits": { nofile: { Name: "nofile", Soft: 1, Hard: 2 } } },
    { "default-ulimit": ["nofile=1:2"] },
  ],
  [
    { "default-address-pools": [{ base: "10.9.0.0/16", size: 24 }] },
    { "default-address-pool": ["base=10.9.0.0/16,size=24"] },
  ],
  [{ builder: { gc: { defaultKeepStorage: "10GB" } } }, { "build-cache-max": ["10GB"] }],
];
for (const [json, flags] of shapes) {
  test(`readDaemonFile() turns ${JSON.stringify(json)} into flags`, () => {
    expect(read(json)).toEqual(flags);
  });
}

const wrongs: [object, string][] = [
  [{ debug: "yes" }, 'Cannot use "debug" in /etc/lading/daemon.json: it takes true or false'],
  [{ hosts: "unix:///a" }, "a list of strings"],
  [{ hosts: [1] }, "a list of strings"],
  [{ mtu: 1.5 }, "a whole number"],
  [{ runtimes: { "a=b": { path: "/k" } } }, 'names of letters, digits and "_.-", not "a=b"'],
  [{ runtimes: { kata: { runtimeType: "io.containerd.kata.v2" } } }, '{"path": PATH} for "kata"'],
  [{ runtimes: { kata: { path: "/k", runtimeArgs: "--debug" } } }, "a program for"],
  [{ runtimes: { kata: { path: "/k", options: { TypeUrl: "x" } } } }, "a program for"],
  [{ "log-opts": { a: {} } }, "an object of strings"],
  [{ __proto__x: 1 }, 'unknown key "__proto__x"'],
];
for (const [json, message] of wrongs) {
  test(`readDaemonFile() refuses ${JSON.stringify(json)}`, () => {
    expect(() => read(json)).toThrow(message);
  });
}

const hintOf = (task: () => unknown): string => {
  try {
    task();
    return "no error";
  } catch (error) {
    return (error as { hint?: string }).hint ?? "";
  }
};

test("an unknown key and an unknown flag suggest the nearest", () => {
  expect(hintOf(() => read({ lables: [] }))).toBe('Did you mean "labels"?');
  expect(hintOf(() => read({ host: [] }))).toBe('Did you mean "hosts"?');
  expect(hintOf(() => readSettings(["--lable=a=b"]))).toBe("Did you mean --label?");
});

test("a flag and the file may say the same, and not two things", () => {
  withFile({ labels: ["a=b"], mtu: 1400 }, (path) => {
    const file = `--config-file=${path}`;
    expect(readSettings([file, "--label=a=b"]).settings.get("label")).toEqual(["a=b"]);
    expect(() => readSettings([file, "--mtu", "1300"])).toThrow(
      "(from flag: 1300, from file: 1400)",
    );
  });
});

test("each of Docker's keys is used, has no effect with a reason, or is refused with one", () => {
  const examples = {
    switch: true,
    count: 1,
    bytes: "1m",
    text: "x",
    list: ["x"],
    pairs: { a: "b" },
  };
  for (const key of daemonKeys.filter(({ ignored, refused }) => ignored ?? refused)) {
    const name = keyOf(key)!;
    withFile({ [name]: examples[key.kind] }, (path) => {
      const reading = () => readSettings([`--config-file=${path}`]).warnings;
      if (key.refused) expect(reading).toThrow(key.refused);
      else expect(reading()).toEqual([`"${name}" has no effect: ${key.ignored}`]);
    });
  }
});

test("parseDaemonOptions() reads values, and refuses what makes no sense", () => {
  const options = (...argv: string[]) => {
    const parsed = parseDaemonOptions(argv);
    if (parsed === "help") throw new Error("help");
    return parsed;
  };
  expect(options("-D").logLevel).toBe("debug");
  expect(options("--live-restore=false").liveRestore).toBe(false);
  expect(options("--default-shm-size=1g").containers.shmBytes).toBe(2 ** 30);
  expect(options("--bip=10.1.0.1/24").defaultBridge.ipv4).toEqual({
    subnet: "10.1.0.0/24",
    gateway: "10.1.0.1",
  });
  for (const bad of [
    ["--bip=10.1.0.0/24"],
    ["--bip=10.1.0.1/24", "--fixed-cidr=10.2.0.0/25"],
    ["--ipv6"],
    ["--dns=x"],
    ["--dns=10.0.0.1:53"],
    ["--label=x"],
    ["--label=a=1", "--label=a=2"],
    ["--default-ulimit=x"],
    ["--log-level=loud"],
    ["--debug=perhaps"],
    ["--max-concurrent-downloads=0"],
    ["--config-file=/does/not/exist"],
  ]) {
    expect(() => options(...bad)).toThrow();
  }
});
