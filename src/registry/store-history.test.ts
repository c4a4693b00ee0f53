import { expect } from "bun:test";
import { digestOf, mediaTypes } from "../oci/mod.ts";
import { ownerAccess } from "./access.ts";
import { codeOf, onEachStorage } from "./laboratory.ts";
import { check } from "./store-check.ts";
import { retire } from "./store-retention.ts";

const at = "repository=a&tag=v1";

onEachStorage(
  "every move of a tag is kept, and undone, also a deletion",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const one = await lab.push.image("a", "v1", "one");
    const two = await lab.push.image("a", "v1", "two");
    const log = async () => {
      const answer = await lab.call("GET", `/lading/registry/log?${at}`);
      const { moves } = (await answer.json()) as { moves: { digest: string; previous: string }[] };
      return moves.map(({ digest, previous }) => [previous, digest]);
    };
    const first = [
      [one.digest, two.digest],
      [null, one.digest],
    ];
    expect(await log()).toEqual(first as string[][]);
    const tagged = async () =>
      (await lab.call("HEAD", "/v2/a/manifests/v1")).headers.get("Docker-Content-Digest");
    const undo = (more = "") => lab.call("POST", `/lading/registry/undo?${at}${more}`);
    expect((await undo()).status).toBe(200);
    expect(await tagged()).toBe(one.digest);
    await lab.call("DELETE", `/v2/a/manifests/${one.digest}`);
    await lab.call("DELETE", `/v2/a/blobs/${digestOf("one")}`);
    expect(await tagged()).toBeNull();
    expect((await undo()).status).toBe(200);
    expect(await tagged()).toBe(one.digest);
    expect((await lab.call("GET", `/v2/a/blobs/${digestOf("one")}`)).status).toBe(200);
    expect((await undo(`&to=${two.digest}`)).status).toBe(200);
    expect(await tagged()).toBe(two.digest);
    expect((await log()).length).toBe(6);
    expect(await codeOf(await undo(`&to=${digestOf("x")}`))).toBe("404 MANIFEST_UNKNOWN");
    const never = await lab.call("POST", "/lading/registry/undo?repository=a&tag=never");
    expect(await codeOf(never)).toBe("404 MANIFEST_UNKNOWN");
  },
);

onEachStorage("work on the whole registry takes the right to it", async (openLaboratory) => {
  await using lab = await openLaboratory();
  for (const path of ["gc?dry-run", "fsck"]) {
    expect(await codeOf(await lab.call("POST", `/lading/registry/${path}`))).toBe("403 DENIED");
  }
  await using mine = await openLaboratory({ parts: { access: ownerAccess } });
  const report = await mine.call("POST", "/lading/registry/gc?dry-run&explain&grace=0s");
  expect(await report.json()).toMatchObject({ isDryRun: true, removed: { blobs: 0 } });
  expect((await mine.call("POST", "/lading/registry/gc?grace=soon")).status).toBe(400);
  expect((await mine.call("GET", "/lading/registry/gc")).status).toBe(405);
  expect((await mine.call("POST", "/lading/registry/__proto__")).status).toBe(404);
});

onEachStorage(
  "check() finds damage, and with repairs the next push mends it",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { digest } = await lab.push.image("a", "v1", "cut", "changed", "whole");
    lab.damage(digestOf("cut"), "cu");
    lab.damage(digestOf("changed"), "chanted");
    const found = await check(lab.store);
    expect(found.damaged.toSorted((a, b) => (a.what < b.what ? -1 : 1))).toEqual([
      { digest: digestOf("changed"), what: "corrupt", repositories: ["a"] },
      { digest: digestOf("cut"), what: "size", repositories: ["a"] },
    ]);
    expect((await check(lab.store, { isQuick: true })).damaged.length).toBe(1);
    await check(lab.store, { repairs: true });
    expect((await lab.call("HEAD", `/v2/a/blobs/${digestOf("changed")}`)).status).toBe(404);
    const after = await check(lab.store);
    expect(after.damaged).toEqual([]);
    expect(after.incomplete).toEqual([{ repository: "a", digest, tags: ["v1"] }]);
    await lab.push.image("a", "v1", "cut", "changed", "whole");
    expect((await check(lab.store)).incomplete).toEqual([]);
    expect(await (await lab.call("GET", `/v2/a/blobs/${digestOf("cut")}`)).text()).toBe("cut");
  },
);

onEachStorage(
  "a cut blob is absent for whoever asks, and a push brings it again",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const digest = await lab.push.blob("a", "cut");
    lab.damage(digest, "cu");
    expect((await lab.call("HEAD", `/v2/a/blobs/${digest}`)).status).toBe(404);
    await lab.push.blob("a", "cut");
    expect(await (await lab.call("GET", `/v2/a/blobs/${digest}`)).text()).toBe("cut");
  },
);

onEachStorage(
  "retire() keeps the last tags and what is needed, and takes the rest",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const { database } = lab.store;
    for (const tag of ["ci-1", "ci-2", "ci-3", "v1", "ci-locked"]) {
      await lab.push.image("a", tag, tag);
      database.run(`UPDATE registry_tag SET moved_ms = moved_ms - 60000`);
    }
    const part = await lab.push.image("a", "", "part");
    const manifests = [{ digest: part.digest, size: part.size, mediaType: part.mediaType }];
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
    await lab.push.manifest("a", "v2", index);
    const lone = await lab.push.image("a", "", "lone");
    database.run("UPDATE registry_manifest SET touched_ms = touched_ms - 9 * 86400000");
    const rules = [{ repositories: ["a"], tags: ["ci-*"], keepLast: 2, untaggedDays: 7 }];
    const mayMove = (_: string, tag: string) => tag !== "ci-1";
    const dry = await retire(lab.store, rules, { dryRun: true, mayMove });
    const gone = dry.map(({ tag, digest }) => tag ?? digest);
    expect(gone).toEqual([lone.digest, "ci-2"]);
    const tags = async () =>
      ((await (await lab.call("GET", "/v2/a/tags/list")).json()) as { tags: string[] }).tags;
    expect((await tags()).length).toBe(6);
    expect(await retire(lab.store, rules, { dryRun: false, mayMove })).toEqual(dry);
    expect(await tags()).toEqual(["ci-1", "ci-3", "ci-locked", "v1", "v2"]);
    // What lost its tag in this run is another's.
    const [atOnce] = rules.map((rule) => ({ ...rule, keepLast: 0, untaggedDays: -1 }));
    const all = await retire(lab.store, [atOnce!], { dryRun: true, mayMove });
    expect(all.length).toBeGreaterThan(0);
    expect(await retire(lab.store, [atOnce!], { dryRun: false, mayMove })).toEqual(all);
    expect((await lab.call("GET", `/v2/a/manifests/${lone.digest}`)).status).toBe(404);
    expect((await lab.call("GET", `/v2/a/manifests/${part.digest}`)).status).toBe(200);
  },
);
