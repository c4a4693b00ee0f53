import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { Events } from "./events.ts";
import { Records } from "./records.ts";
import type { Container } from "./types.ts";

const inside = { phase: "idle", mounts: [], restartDelayMs: 0 } as const;

function container(id: string, name: string): Container {
  return {
    id,
    name,
    created: `2024-01-01T00:00:0${id[0]}Z`,
    config: { Labels: {} },
    state: { status: "created", exitCode: 0 },
  } as unknown as Container;
}

test("a record survives the daemon, and its identity changes only with it", () => {
  const database = new Database(":memory:");
  const records = new Records(database);
  records.put(container("1a", "one"), inside);
  records.put(container("2b", "two"), inside);
  const before = records.list();
  expect(records.list()).toBe(before);
  expect(before.map(({ name }) => name)).toEqual(["two", "one"]);
  records.change("1a", { state: { status: "running" } }, { phase: "running" });
  expect(records.list()[0]).toBe(before[0]!);
  expect(records.list()[1]).not.toBe(before[1]!);
  expect(Object.isFrozen(records.get("1a").state)).toBe(true);
  const again = new Records(database);
  expect(again.get("1a").state).toEqual({ status: "running", exitCode: 0 } as never);
  expect(again.inside("1a").phase).toBe("running");
});

test("resolve() finds by ID, name and prefix, and says when two would do", () => {
  const records = new Records(new Database(":memory:"));
  records.put(container("1abc", "one"), inside);
  records.put(container("1abd", "two"), inside);
  for (const key of ["1abc", "one", "/one", "1abc"]) expect(records.resolve(key).id).toBe("1abc");
  expect(() => records.resolve("1ab")).toThrow("Multiple IDs found with provided prefix: 1ab");
  expect(() => records.resolve("three")).toThrow("No such container: three");
  expect(() => records.resolve("")).toThrow('invalid name or ID supplied: ""');
});

test("a name has one holder, from its reservation on", () => {
  const records = new Records(new Database(":memory:"));
  records.reserve("1a", "one");
  expect(() => records.reserve("2b", "/one")).toThrow(
    'Conflict. The container name "/one" is already in use by container "1a". You have to remove ' +
      "(or rename) that container to be able to reuse that name.",
  );
  records.unreserve("1a", "one");
  records.reserve("2b", "one");
  records.put(container("2b", "one"), inside);
  records.rename("2b", "two");
  records.reserve("3c", "one");
  records.remove("2b");
  expect(records.reserve("4d", "two")).toBe("two");
});

test("a half-created container is not there yet, but keeps its name", () => {
  const records = new Records(new Database(":memory:"));
  records.put(container("1a", "one"), { ...inside, phase: "creating" });
  expect(records.list()).toEqual([]);
  expect(() => records.resolve("one")).toThrow("No such container");
  expect(() => records.reserve("2b", "one")).toThrow("Conflict");
});

test("Events.read() gives the past from a time on, then the present until it is stopped", async () => {
  const events = new Events();
  const emit = (action: string) => {
    events.emit({ type: "daemon", action, actor: { id: "", attributes: {} } });
  };
  emit("old");
  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { action } of events.read({ sinceNs: 0n, signal: stop.signal })) {
      seen.push(action);
      if (action === "new") stop.abort();
    }
  })();
  await Bun.sleep(0);
  emit("new");
  await reading;
  emit("late");
  expect(seen).toEqual(["old", "new"]);
});

test("Events.read() ends at a time that is past", async () => {
  const events = new Events();
  events.emit({ type: "daemon", action: "old", actor: { id: "", attributes: {} } });
  const untilNs = BigInt(Date.now()) * 1_000_000n + 1_000_000n;
  const { signal } = new AbortController();
  const seen = await Array.fromAsync(events.read({ sinceNs: 0n, untilNs, signal }));
  expect(seen.map(({ action }) => action)).toEqual(["old"]);
});
