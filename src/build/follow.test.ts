import { afterAll, beforeAll, expect, test } from "bun:test";
import { follow } from "./follow.ts";

const asked: string[] = [];
let server: ReturnType<typeof Bun.serve>;

beforeAll(() => {
  server = Bun.serve({
    port: 0,
    hostname: "0.0.0.0",
    fetch: ({ url, headers }) => {
      const { pathname, searchParams } = new URL(url);
      asked.push(`${headers.get("host")?.replace(/:.*/, "")}${pathname}`);
      const to = searchParams.get("to");
      return to === null ? new Response("here") : Response.redirect(to, 302);
    },
  });
});
afterAll(async () => await server.stop(true));

/** A server of names that gives each answer once, and then the last for ever. */
function names(answers: Readonly<Record<string, readonly (readonly string[])[]>>) {
  const told = new Map<string, number>();
  return async (host: string) => {
    const count = told.get(host) ?? 0;
    told.set(host, count + 1);
    const all = answers[host] ?? [];
    return all[Math.min(count, all.length - 1)] ?? [];
  };
}

/** 127.0.0.1 plays a host in the open, and 127.0.0.2 what it must not lead to. */
const options = (lookup: (host: string) => Promise<readonly string[]>) => ({
  lookup,
  isLocal: (address: string) => address !== "127.0.0.1",
  redirectsMax: 3,
  signal: AbortSignal.timeout(20_000),
});
const at = (host: string, to?: string) =>
  `http://${host}:${server.port}/${to === undefined ? "" : `?to=${encodeURIComponent(to)}`}`;

test("follow() connects to the address that was looked at, under the name that was asked for", async () => {
  const lookup = names({ "one.test": [["127.0.0.1"], ["192.0.2.1"]] });
  const { response, place } = await follow(new URL(at("one.test")), options(lookup));
  expect(await response.text()).toBe("here");
  expect(asked.at(-1)).toBe("one.test/");
  expect(place.addresses).toEqual(["127.0.0.1"]);
});

test("follow() goes on to the next address of a host when one does not answer", async () => {
  const lookup = names({ "two.test": [["::1", "127.0.0.1"]] });
  const { response } = await follow(new URL(at("two.test")), options(lookup));
  expect(await response.text()).toBe("here");
});

test.each([
  ["at once", { "a.test": [["127.0.0.1"]], "b.test": [["127.0.0.2"]] }, ["a.test", "b.test"]],
  [
    "by one of several addresses",
    { "a.test": [["127.0.0.1"]], "b.test": [["127.0.0.1", "127.0.0.2"]] },
    ["a.test", "b.test"],
  ],
  [
    "by way of a local host that led out",
    { "a.test": [["127.0.0.2"]], "b.test": [["127.0.0.1"]] },
    ["a.test", "b.test", "a.test"],
  ],
  [
    "by a name that means another address the second time",
    { "a.test": [["127.0.0.1"], ["127.0.0.2"]] },
    ["a.test", "a.test"],
  ],
  [
    "by a name that then claims to have been local",
    { "a.test": [["127.0.0.1"], ["127.0.0.2"]], "b.test": [["127.0.0.2"]] },
    ["a.test", "b.test"],
  ],
] as const)("follow() is not led from the open inward: %s", async (_, answers, hosts) => {
  const path = hosts.toReversed().reduce<string | undefined>((to, host) => at(host, to), undefined);
  const before = asked.length;
  await expect(follow(new URL(path!), options(names(answers)))).rejects.toThrow(
    `redirects to the local address ${hosts.at(-1)}`,
  );
  expect(asked.length - before).toBe(hosts.length - 1);
});

test("follow() lets a local host lead where it likes", async () => {
  const lookup = names({
    "a.test": [["127.0.0.2"]],
    "b.test": [["127.0.0.2"]],
    "c.test": [["127.0.0.1"]],
  });
  const { response } = await follow(
    new URL(at("a.test", at("b.test", at("c.test")))),
    options(lookup),
  );
  expect(await response.text()).toBe("here");
});

test("follow() knows no host without addresses, and looks it up no second time", async () => {
  const lookup = names({ "gone.test": [[], ["127.0.0.1"]] });
  const before = asked.length;
  await expect(follow(new URL(at("gone.test")), options(lookup))).rejects.toThrow(
    "there is no host gone.test",
  );
  expect(asked.length).toBe(before);
});
