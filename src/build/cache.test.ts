import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { type Digest, digestOf } from "../oci/mod.ts";
import { StepCache } from "./cache.ts";

const step = (name: string, layer?: Digest, description = name) => ({
  key: digestOf(name),
  layer,
  description,
  createdMs: 1,
});

test("StepCache lists steps with layers, and knows those of one layer", () => {
  const cache = new StepCache(new Database(":memory:"));
  const [one, two] = [digestOf("layer 1"), digestOf("layer 2")];
  for (const each of [step("a", one), step("b"), step("c", two), step("d", one)]) cache.put(each);
  expect(
    cache
      .list()
      .map(({ description }) => description)
      .sort(),
  ).toEqual(["a", "c", "d"]);
  expect(cache.keysOf(one).sort()).toEqual([digestOf("a"), digestOf("d")].sort());
  cache.forget(cache.keysOf(one));
  expect(cache.layers()).toEqual([two]);
  cache.forgetPlain();
  expect(cache.find(digestOf("b"))).toBeUndefined();
  expect(cache.find(digestOf("c"))).toBeDefined();
});

test("StepCache reads no step that changed no file when it is asked for layers", () => {
  const database = new Database(":memory:");
  const cache = new StepCache(database);
  cache.put(step("a", digestOf("layer"), "RUN ".repeat(10_000)));
  expect(cache.list()[0]!.description.length).toBe(1_000);
  for (const query of [
    "SELECT * FROM build_step INDEXED BY build_step_layer WHERE layer IS NOT NULL ORDER BY used_ms",
    "SELECT key FROM build_step WHERE layer = 'x'",
    "SELECT DISTINCT layer FROM build_step WHERE layer IS NOT NULL",
  ]) {
    const plan = database.query<{ detail: string }, []>(`EXPLAIN QUERY PLAN ${query}`).all();
    expect(plan.map(({ detail }) => detail).join()).toContain("INDEX build_step_layer");
  }
});
