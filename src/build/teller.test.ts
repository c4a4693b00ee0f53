import { expect, test } from "bun:test";
import { Flights } from "./flight.ts";
import { Teller } from "./teller.ts";
import type { BuildEvent } from "./types.ts";

function warnings() {
  const told: string[] = [];
  const report = (event: BuildEvent) =>
    told.push(event.kind === "warning" ? event.text : event.kind);
  return { told, report };
}
const warning = (text: string): BuildEvent => ({ kind: "warning", text });

test("Teller tells stages one after the other", () => {
  const { told, report } = warnings();
  const teller = new Teller(report, [2, 0, 1]);
  teller.tell(1, warning("b1"));
  teller.tell(0, warning("a1"));
  teller.finish(1);
  teller.tell(2, warning("c1"));
  expect(told).toEqual(["a1"]);
  teller.finish(0);
  expect(told).toEqual(["a1", "b1", "c1"]);
  teller.tell(2, warning("c2"));
  expect(told.at(-1)).toBe("c2");
});

test("Teller tells what it holds when the build ends", () => {
  const { told, report } = warnings();
  const teller = new Teller(report, [0, 1]);
  teller.tell(1, warning("b"));
  teller.end();
  expect(told).toEqual(["b"]);
});

test("Teller holds back no more than a bound", () => {
  const { told, report } = warnings();
  const teller = new Teller(report, [0, 1]);
  teller.tell(1, { kind: "output", number: 1, stream: 1, bytes: new Uint8Array(2 << 20) });
  expect(told).toEqual(["output"]);
});

test("Flights runs equal work once and shows its output to all", async () => {
  const flights = new Flights<number>();
  const seen: string[] = [];
  let runs = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const join = (name: string) =>
    flights.run(
      "key",
      (_, bytes) => seen.push(name + Buffer.from(bytes)),
      async (tell) => {
        runs++;
        tell(1, Buffer.from("1"));
        await promise;
        tell(1, Buffer.from("2"));
        return 7;
      },
    );
  const both = [join("a"), join("b")];
  resolve();
  expect(await Promise.all(both)).toEqual([
    { value: 7, joined: false },
    { value: 7, joined: true },
  ]);
  expect(runs).toBe(1);
  expect(seen.sort()).toEqual(["a1", "a2", "b1", "b2"]);
});

test("Flights lets the others try when the first fails", async () => {
  const flights = new Flights<number>();
  let runs = 0;
  const join = () =>
    flights.run(
      "key",
      () => undefined,
      async () => {
        await Promise.resolve();
        if (++runs === 1) throw new Error("cancelled");
        return runs;
      },
    );
  const [first, second] = await Promise.allSettled([join(), join()]);
  expect(first.status).toBe("rejected");
  expect(second).toEqual({ status: "fulfilled", value: { value: 2, joined: false } });
});
