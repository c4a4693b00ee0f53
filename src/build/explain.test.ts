import { afterAll, beforeAll, expect, test } from "bun:test";
import { buildIn, openWorld, type World } from "./fakes.ts";
import { reasonText } from "./reasons.ts";
import type { BuildEvent } from "./types.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

/** `number outcome: reasons`, for the steps that were not in the cache. */
function why(events: readonly BuildEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.kind !== "settled" || event.reasons.length === 0) return [];
    return [`${event.number} ${event.outcome}: ${event.reasons.map(reasonText).join("; ")}`];
  });
}

/** Builds once, changed, and tells why the second one was not in the cache. */
async function explained(
  first: Parameters<typeof buildIn>[1] | [string, Parameters<typeof buildIn>[2]],
  second: typeof first,
): Promise<string[]> {
  const project = String(Math.random());
  const run = async (given: typeof first) => {
    const [text, options] = typeof given === "string" ? [given, {}] : given;
    return await buildIn(world, text, { project, ...options });
  };
  await run(first);
  return why((await run(second)).events);
}

const copy = "FROM base\nCOPY src /src\nRUN make";

test("explain: a first build is new, and a second tells nothing", async () => {
  const text = "FROM base\nRUN first";
  expect(why((await buildIn(world, text, { project: "p" })).events)).toEqual([
    "2 made: not built before",
  ]);
  expect(why((await buildIn(world, text, { project: "p" })).events)).toEqual([]);
});

test("explain: which file changed, and how; what follows says after which step", async () => {
  const files = { "src/same": "1", "src/other": "1", "src/gone": "1" };
  const changed = { "src/same": "1", "src/other": "2", "src/new": "1" };
  expect(await explained([copy, { files }], [copy, { files: changed }])).toEqual([
    "2 made: src/new is new; src/other has other content; src/gone is gone",
    "3 made: step 2 before it was made anew",
  ]);
});

test("explain: at most twenty files are told, the others counted", async () => {
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`src/${n}`, "1"]));
  const [line] = await explained(
    [copy, { files: { "src/x": "1" } }],
    [copy, { files: { ...many, "src/x": "1" } }],
  );
  expect(line!.split("; ")).toHaveLength(21);
  expect(line).toEndWith("and 30 more files");
});

test("explain: the ARG, the ENV, the instruction, the user", async () => {
  const args = (value: string): [string, { buildArgs: Record<string, string> }] => [
    "FROM base\nARG V=0\nRUN with-arg",
    { buildArgs: { V: value } },
  ];
  expect(await explained(args("1"), args("2"))).toEqual(['3 made: ARG V is "2", was "1"']);
  expect(await explained("FROM base\nENV E=1\nRUN env", "FROM base\nENV E=2 F=1\nRUN env")).toEqual(
    ['3 made: ENV E is "2", was "1"; ENV F is new: 1'],
  );
  expect(await explained("FROM base\nRUN old", "FROM base\nRUN young")).toEqual([
    "2 made: the instruction was: RUN old",
  ]);
  expect(await explained("FROM base\nRUN id", "FROM base\nUSER 7\nRUN id")).toEqual([
    "3 made: user is 7, was ",
  ]);
});

test("explain: an instruction that was put in between is new, what follows comes after it", async () => {
  expect(await explained("FROM base\nRUN a1\nRUN b1", "FROM base\nRUN a0\nRUN a1\nRUN b1")).toEqual(
    [
      "2 made: the instruction was: RUN a1",
      "3 made: step 2 before it was made anew",
      "4 made: step 3 before it was made anew",
    ],
  );
});

test("explain: another base image", async () => {
  const before = world.image("moving", { "etc/hosts": "", "etc/resolv.conf": "" });
  const text = "FROM moving\nRUN on-base";
  await buildIn(world, text, { project: "base" });
  const after = world.image("moving", { "etc/hosts": "", "etc/resolv.conf": "", more: "1" });
  const { events } = await buildIn(world, text, { project: "base" });
  expect(why(events)).toEqual([
    `1 made: moving is ${after.id}, was ${before.id}`,
    "2 made: step 1 before it was made anew",
  ]);
});

test("explain: forced by a flag, for all stages or for one", async () => {
  const text = "FROM base AS one\nRUN in-one\nFROM base\nCOPY --from=one /etc /e\nRUN in-two";
  expect(await explained(text, [text, { noCache: true }])).toEqual([
    "2 made: forced by --no-cache",
    "4 made: forced by --no-cache",
    "5 made: forced by --no-cache",
  ]);
  expect(await explained(text, [text, { noCacheFilter: ["one"] }])).toEqual([
    "2 made: forced by --no-cache-filter",
  ]);
});

test("explain: what prune took away was evicted", async () => {
  const text = "FROM base\nRUN to-be-evicted";
  await buildIn(world, text, { project: "evicted" });
  await world.builder.prune({ all: true, keepBytes: 0 });
  const { events } = await buildIn(world, text, { project: "evicted" });
  expect(why(events)).toEqual(["2 made: its layer was removed from the cache"]);
});

test("a step that two builds want at once is made once, and told as reused", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  world.command = async () => {
    await promise;
    return 0;
  };
  const before = world.ran.length;
  const builds = [1, 2].map(() => buildIn(world, "FROM base\nRUN slow", { project: "twins" }));
  while (world.ran.length === before) await Bun.sleep(5);
  await Bun.sleep(50);
  resolve();
  const outcomes = (await Promise.all(builds)).map(({ events }) =>
    events.flatMap((event) => (event.kind === "settled" ? [event.outcome] : [])).at(-1),
  );
  world.command = () => 0;
  expect(outcomes.sort()).toEqual(["made", "reused"]);
  expect(world.ran.length - before).toBe(1);
});

test("what a target does not need is told as skipped; what a failure stops as cancelled", async () => {
  world.command = async ({ spec, killed }) => {
    if (spec.process.args.at(-1) === "fails") return 1;
    await killed;
    return 137;
  };
  const text = "FROM base AS a\nRUN fails\nFROM base AS b\nRUN waits\nFROM a\nCOPY --from=b / /";
  const events: BuildEvent[] = [];
  const contextPath = world.context({ Dockerfile: text });
  const { requestOf } = await import("./fakes.ts");
  const build = world.builder.build(requestOf({ contextPath, isLive: true }), (e) =>
    events.push(e),
  );
  await expect(build).rejects.toThrow("non-zero code: 1");
  world.command = () => 0;
  const outcomes = events.flatMap((event) =>
    event.kind === "settled" ? [`${event.number} ${event.outcome}`] : [],
  );
  expect(outcomes).toContain("2 failed");
  expect(outcomes).toContain("4 cancelled");
  const { events: others } = await buildIn(world, text, { target: "a", project: "skips" });
  expect(others.filter(({ kind }) => kind === "skipped")).toHaveLength(2);
  const [last] = world.builder.history.list().slice(-1);
  expect(last).toBeDefined();
});

test("four stages that do not need each other run at the same time, on any machine", async () => {
  const { promise: all, resolve } = Promise.withResolvers<void>();
  let running = 0;
  world.command = async () => {
    if (++running === 4) resolve();
    await all;
    return 0;
  };
  const stages = ["a", "b", "c", "d"].map((name) => `FROM base AS ${name}\nRUN stage-${name}`);
  const copies = ["a", "b", "c", "d"].map((name) => `COPY --from=${name} /etc /${name}`);
  await buildIn(world, [...stages, "FROM base", ...copies].join("\n"), { project: "four" });
  world.command = () => 0;
  expect(running).toBe(4);
});
