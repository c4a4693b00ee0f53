import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { scanListing } from "./listing-tree.ts";
import { matchSent, type ToldFile } from "./sent-files.ts";

const folder = mkdtempSync("/tmp/lading-sent-");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const digest = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const told = (...files: ToldFile[]) => files.map((each) => JSON.stringify(each)).join("\n");
const old = "1700000000000000000";
const files = (time = old): ToldFile[] => [
  ["folder", "d", 0o755],
  ["file", "d/a", 0o644, 1, old],
  ["file", "d/b", 0o600, 1, time],
  ["link", "l", "d"],
  ["fifo", "p", 0o644],
];
const ask = (
  name: string,
  text: string,
  digests: ReadonlyMap<number, string> = new Map(),
  path?: string,
) => matchSent(`${folder}/${name}`, { key: "k", told: text, digests, ...(path ? { path } : {}) });
const both = new Map([
  [1, digest("a")],
  [2, digest("b")],
]);

test("matchSent() knows a file by path, size and time once it was sent, and writes what can be scanned", () => {
  expect(ask("one", told(...files()))).toEqual({ unknown: [1, 2] });
  const first = ask("one", told(...files()), both);
  expect(ask("one", told(...files()))).toEqual(first);
  const path = `${folder}/listing`;
  expect(ask("one", told(...files()), new Map(), path)).toEqual(first);
  const listing = readFileSync(path, "utf8");
  expect(first).toEqual({ digest: digest(listing) });
  const plain = { ignore: [], exclude: [], parents: false, owners: false, archives: false };
  expect(scanListing({ root: "", words: ["."], ...plain }, listing).files).toBe(6);
});

test("matchSent() asks for what has another time or size, and for no other", () => {
  ask("two", told(...files()), both);
  expect(ask("two", told(...files("1700000000000000001")))).toEqual({ unknown: [2] });
  const other = told(["file", "d/a", 0o644, 2, old]);
  expect(ask("two", other)).toEqual({ unknown: [0] });
});

test("matchSent() takes another mode for another listing of the same content", () => {
  const first = ask("three", told(...files()), both);
  const [d, , ...rest] = files();
  const second = ask("three", told(d!, ["file", "d/a", 0o755, 1, old], ...rest));
  expect(second).toHaveProperty("digest");
  expect(second).not.toEqual(first);
});

test("matchSent() does not remember a file that may still change under the same time", () => {
  const now = told(...files(String(BigInt(Date.now()) * 1_000_000n)));
  expect(ask("four", now, both)).toHaveProperty("digest");
  expect(ask("four", now)).toEqual({ unknown: [2] });
});

test("matchSent() keeps the folders of other keys apart", () => {
  ask("five", told(...files()), both);
  const asked = { key: "other", told: told(...files()), digests: new Map() };
  expect(matchSent(`${folder}/five`, asked)).toEqual({ unknown: [1, 2] });
});
