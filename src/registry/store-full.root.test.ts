import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { digestOf } from "../oci/mod.ts";
import { mountNow, unmountNow } from "../sys/mod.ts";
import { codeOf, openLaboratory } from "./laboratory.ts";
import { check } from "./store-check.ts";
import { collect } from "./store-collect.ts";

test("on a full disk pushes are refused, what is there is served, and deleting makes room", async () => {
  const directory = mkdtempSync("/tmp/lading-registry-full-");
  mountNow({ type: "tmpfs", source: "tmpfs", target: directory, data: "size=12m" });
  try {
    await fillAndFree(`${directory}/root`);
  } finally {
    unmountNow(directory, { detach: true });
    rmSync(directory, { recursive: true });
  }
});

async function fillAndFree(directory: string): Promise<void> {
  await using lab = await openLaboratory({ directory });
  const { digest } = await lab.push.image("a", "v1", "kept");
  const text = (letter: string) => letter.repeat(3 << 20);
  const push = (letter: string) =>
    lab.call("POST", `/v2/a/blobs/uploads/?digest=${digestOf(text(letter))}`, {
      body: text(letter),
    });
  const letters = ["b", "c", "d", "e", "f", "g"];
  const answers: Response[] = [];
  for (const letter of letters) answers.push(await push(letter));
  expect(answers[0]!.status).toBe(201);
  const refused = answers.filter(({ status }) => status !== 201);
  expect(refused.length).toBeGreaterThan(1);
  for (const answer of refused) {
    const said = await answer.clone().text();
    expect(await codeOf(answer)).toBe("503 UNAVAILABLE");
    expect(said).toMatch(/no space left|full/i);
    expect(said).not.toContain(directory);
  }
  expect(readdirSync(`${directory}/registry/uploads`)).toEqual([]);

  // In pieces: what came stays, as far as there was room for it.
  const begun = await lab.call("POST", "/v2/a/blobs/uploads/");
  const path = begun.headers.get("Location")!;
  expect((await lab.call("PATCH", path, { body: text("x").repeat(2) })).status).toBe(503);
  expect((await lab.call("DELETE", path)).status).toBe(204);

  const got = await lab.call("GET", "/v2/a/manifests/v1");
  expect(got.headers.get("Docker-Content-Digest")).toBe(digest);
  await Bun.sleep(2);
  await collect(lab.store, { graceMs: 0, historyMs: 0 });
  expect((await push("z")).status).toBe(201);
  expect((await check(lab.store)).damaged).toEqual([]);
  expect((await lab.call("GET", `/v2/a/blobs/${digestOf("kept")}`)).status).toBe(200);
}
