import { expect, test } from "bun:test";
import { codeOf, onEachStorage, openLaboratory } from "./laboratory.ts";

onEachStorage("tags and repositories are listed in order, page by page", async (openLaboratory) => {
  await using lab = await openLaboratory();
  for (const tag of ["v2", "B", "a", "c", "v10", "A"]) await lab.push.image("z/y", tag, "one");
  await lab.push.image("b", "v1", "one");
  await lab.push.blob("empty", "blob alone");
  const pages = async (path: string, field: string) => {
    const all: string[][] = [];
    for (let next: string | undefined = path; next !== undefined; ) {
      const answer = await lab.call("GET", next);
      expect(answer.status).toBe(200);
      all.push(((await answer.json()) as Record<string, string[]>)[field]!);
      next = /<([^>]+)>; rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1];
    }
    return all;
  };
  expect(await pages("/v2/z/y/tags/list", "tags")).toEqual([["A", "a", "B", "c", "v10", "v2"]]);
  const paged = [
    ["A", "a"],
    ["B", "c"],
    ["v10", "v2"],
  ];
  expect(await pages("/v2/z/y/tags/list?n=2", "tags")).toEqual(paged);
  expect(await pages("/v2/z/y/tags/list?last=B", "tags")).toEqual([["c", "v10", "v2"]]);
  expect(await pages("/v2/z/y/tags/list?n=0", "tags")).toEqual([[]]);
  expect(await pages("/v2/_catalog", "repositories")).toEqual([["b", "z/y"]]);
  expect(await pages("/v2/_catalog?n=1", "repositories")).toEqual([["b"], ["z/y"]]);
});

for (const [method, path, code] of [
  ["GET", "/v2/absent/tags/list", "404 NAME_UNKNOWN"],
  ["GET", "/v2/a/tags/list?n=x", "400 PAGINATION_NUMBER_INVALID"],
  ["GET", "/v2/a/tags/list?n=-1", "400 PAGINATION_NUMBER_INVALID"],
  ["GET", "/v2/a/manifests/absent", "404 MANIFEST_UNKNOWN"],
  ["GET", "/v2/a/manifests/.not-a-tag", "404 MANIFEST_UNKNOWN"],
  ["PUT", "/v2/a/manifests/.not-a-tag", "400 MANIFEST_INVALID"],
  ["DELETE", "/v2/absent/manifests/v1", "404 NAME_UNKNOWN"],
  ["GET", "/v2/a/blobs/sha256:short", "400 DIGEST_INVALID"],
  ["PUT", "/v2/a/tags/list", "405 UNSUPPORTED"],
  ["PATCH", "/v2/a/manifests/v1", "405 UNSUPPORTED"],
  ["GET", "/v2/nothing", "404 UNSUPPORTED"],
  ["GET", "/v2/..%2f..%2fetc/manifests/x", "400 NAME_INVALID"],
  ["GET", "/v2/%00/tags/list", "400 NAME_INVALID"],
] as const) {
  test(`${method} ${path} is ${code}`, async () => {
    await using lab = await openLaboratory();
    await lab.push.image("a", "v1", "one");
    const answer = await lab.call(method, path);
    expect(answer.headers.get("Docker-Distribution-Api-Version")).toBe("registry/2.0");
    expect(await codeOf(answer)).toBe(code);
  });
}

onEachStorage("a page of another site may not write", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const post = (origin: string) =>
    lab.call("POST", "/v2/a/blobs/uploads/", { headers: { Origin: origin } });
  expect((await post("https://elsewhere.example")).status).toBe(403);
  expect((await post(lab.server.address)).status).toBe(202);
});
