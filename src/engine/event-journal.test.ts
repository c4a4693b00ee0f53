import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { EventJournal } from "./event-journal.ts";
import { Events } from "./events.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/lading-events-`);
});
afterAll(() => rmSync(folder, { recursive: true }));

const event = (action: string) => ({
  type: "container" as const,
  action,
  actor: { id: "x", attributes: { name: "web" } },
});

test("Events tell the next daemon's readers what happened before, a torn line aside", async () => {
  const path = `${folder}/events`;
  const first = new Events(new EventJournal(path));
  first.emit(event("start"));
  first.emit(event("die"));
  first.close();
  appendFileSync(path, '{"type":"cont');
  const second = new Events(new EventJournal(path));
  second.emit(event("destroy"));
  const seen: string[] = [];
  const query = { sinceNs: 0n, untilNs: BigInt(Date.now() + 5) * 1_000_000n };
  for await (const { action } of second.read({ ...query, signal: new AbortController().signal })) {
    seen.push(action);
  }
  second.close();
  expect(seen.slice(0, 2)).toEqual(["start", "die"]);
});

test("EventJournal keeps two files, however many events there are", () => {
  const path = `${folder}/many`;
  const journal = new EventJournal(path);
  for (let at = 0; at < 9_000; at++) journal.add({ ...event(String(at)), timeNs: BigInt(at) });
  journal.close();
  expect(readdirSync(folder).filter((name) => name.startsWith("many"))).toHaveLength(2);
  const last = new EventJournal(path).load(3);
  expect(last.map(({ action }) => action)).toEqual(["8997", "8998", "8999"]);
});
