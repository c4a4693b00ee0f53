/** A context that is listed must scan as its files do. */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseIgnore } from "../src/build/ignore.ts";
import { ListingTree, scanListing } from "../src/build/listing-tree.ts";
import { type ScanRequest, scan } from "../src/build/scan.ts";
import { listContext } from "../src/cli/context-listing.ts";

const root = mkdtempSync("/tmp/lading-listing-");
process.env["XDG_CACHE_HOME"] = `${root}-cache`;
afterAll(() => {
  for (const each of [root, `${root}-cache`]) rmSync(each, { recursive: true, force: true });
});

const ignoreText = "secret\nlogs\n!logs/keep\n**/*.tmp\n";
const files: Record<string, string> = {
  ".dockerignore": ignoreText,
  Dockerfile: "FROM scratch",
  "src/a.ts": "a",
  "src/deep/b.ts": "b",
  "src/deep/c.tmp": "c",
  "logs/keep": "kept",
  "logs/drop": "dropped",
  'name with spaces and "quotes"\n': "odd",
  large: "x".repeat(1_200_000),
  secret: "s",
};
for (const [path, content] of Object.entries(files)) {
  mkdirSync(dirname(`${root}/${path}`), { recursive: true });
  writeFileSync(`${root}/${path}`, content);
}
chmodSync(`${root}/src/a.ts`, 0o750);
chmodSync(`${root}/src/deep`, 0o700);
symlinkSync("src", `${root}/link`);
symlinkSync("../../../src/deep", `${root}/src/up`);
symlinkSync("loop", `${root}/loop`);

function requestOf(words: string[], more: Partial<ScanRequest> = {}): ScanRequest {
  const plain = { exclude: [], parents: false, owners: false, archives: false };
  return { root, words, ignore: parseIgnore(ignoreText).rules, ...plain, ...more };
}

const cases: [name: string, words: string[], more?: Partial<ScanRequest>][] = [
  ["the whole folder", ["."]],
  ["a file", ["src/a.ts"]],
  ["a folder through a link", ["link/deep"]],
  ["a link that leads above the root", ["src/up"]],
  ["a wildcard", ["s*/*.ts"]],
  ["any number of folders", ["**/*.ts"]],
  ["what an exception keeps", ["logs"]],
  ["what is left out", ["secret"]],
  ["what is absent", ["none"]],
  ["a link that leads to itself", ["loop"]],
  ["parents", ["src/./deep/b.ts"], { parents: true }],
  ["an exclusion", ["src"], { exclude: ["deep"] }],
];

for (const [name, words, more] of cases) {
  test(`scanListing() finds what scan() finds: ${name}`, () => {
    const { text } = listContext(root, { dockerfile: "Dockerfile" })!;
    const { lines: _, skipped: __, ...listed } = scanListing(requestOf(words, more), text());
    expect(listed).toEqual(scan(requestOf(words, more)));
  });
}

test("listContext() reads a changed file again, and no other", () => {
  const first = listContext(root, { dockerfile: "Dockerfile" })!.text();
  writeFileSync(`${root}/src/a.ts`, "changed");
  const second = listContext(root, { dockerfile: "Dockerfile" })!.text();
  const changed = second.split("\n").filter((line) => !first.includes(line));
  expect(changed.map((line) => JSON.parse(line)[1])).toEqual(["src/a.ts"]);
});

test.each([
  "no json",
  '["file","../up",420,1,"x"]',
  '["file","a//b",420,1,"x"]',
  '["file","no/folder",420,1,"x"]',
  '["device","a",420,1,3]',
  '["file","a",420,1,"x"]\n["file","a",420,1,"y"]',
])("ListingTree refuses %j", (text) => {
  expect(() => new ListingTree(text)).toThrow();
});
