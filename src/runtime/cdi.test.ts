import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { findDevices, listDevices } from "./cdi.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync("/tmp/lading-cdi-");
  const spec = {
    cdiVersion: "0.6.0",
    kind: "example.org/null",
    containerEdits: { env: ["SEEN=1"] },
    devices: [
      {
        name: "b",
        containerEdits: { deviceNodes: [{ path: "/dev/mine", hostPath: "/dev/null" }] },
      },
      { name: "a", containerEdits: { mounts: [{ hostPath: "/srv", containerPath: "/data" }] } },
      { name: "hook", containerEdits: { hooks: [{ hookName: "createRuntime", path: "/x" }] } },
    ],
  };
  writeFileSync(`${folder}/one.json`, JSON.stringify(spec));
  writeFileSync(`${folder}/two.yaml`, "kind: example.org/yaml\ndevices:\n- name: x\n");
});
afterAll(() => rmSync(folder, { recursive: true }));

test("findDevices() gives a device with what its class adds", async () => {
  const { uid, gid } = statSync("/dev/null");
  expect(await findDevices("example.org/null=b", [folder])).toEqual({
    env: ["SEEN=1"],
    mounts: [],
    devices: [{ path: "/dev/mine", type: "c", major: 1, minor: 3, fileMode: 0o666, uid, gid }],
    rules: [{ allow: true, type: "c", major: 1, minor: 3, access: "rwm" }],
    hooks: {},
    additionalGids: [],
  });
});

test("findDevices() takes the first device for a class, and reads YAML", async () => {
  const found = await findDevices("example.org/null", [folder]);
  expect(found?.mounts.map(({ target }) => target)).toEqual(["/data"]);
  expect(await findDevices("example.org/yaml=x", [folder])).toMatchObject({ devices: [] });
});

test("findDevices() knows nothing of other names, and gives hooks by their moment", async () => {
  expect(await findDevices("example.org/null=c", [folder])).toBeUndefined();
  expect(await findDevices("example.org/other", [folder, "/no/such"])).toBeUndefined();
  const all = await findDevices("example.org/null=*", [folder]);
  expect(all?.hooks).toEqual({ createRuntime: [{ path: "/x" }] });
  expect(await listDevices("example.org/null", [folder])).toEqual(["a", "b", "hook"]);
});
