import { expect, test } from "bun:test";
import { fetchedMaterial, sortMaterials } from "./result.ts";

test("fetchedMaterial() leaves passwords and queries out", () => {
  const uris = [
    "https://user:secret@example.org/a.tgz?token=x#y",
    "https://token@example.org/r.git",
    "http://example.org/a@b",
    "git@example.org:a/b.git",
  ].map((address) => fetchedMaterial(address, {}).uri);
  expect(uris).toEqual([
    "https://example.org/a.tgz",
    "https://example.org/r.git",
    "http://example.org/a@b",
    "git@example.org:a/b.git",
  ]);
});

test("sortMaterials() has each once, whatever their order", () => {
  const [a, b] = ["a", "b"].map((uri) => ({ uri, digest: { sha256: uri } }));
  expect(sortMaterials([b!, a!, b!])).toEqual(sortMaterials([a!, b!]));
});
