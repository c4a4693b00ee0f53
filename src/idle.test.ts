import { expect, test } from "bun:test";
import { restWhenIdle } from "./idle.ts";

test("restWhenIdle() rests after work, and again after more work", async () => {
  const rested: (() => void)[] = [];
  const next = () => new Promise<void>((resolve) => rested.push(resolve));
  let count = 0;
  using _rests = restWhenIdle(() => {
    count++;
    for (const resolve of rested.splice(0)) resolve();
  }, 10);
  work();
  await next();
  expect(count).toBe(1);
  work();
  await next();
  expect(count).toBe(2);
});

/** Takes 150 ms of CPU time. */
function work(): void {
  const { user } = process.cpuUsage();
  while (process.cpuUsage().user - user < 150_000) {
    for (let count = 0; count < 10_000; count++) Math.sqrt(Math.random());
  }
}

test("restWhenIdle() gives up when memory cannot be let go of", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _rests = restWhenIdle(() => {
    queueMicrotask(resolve);
    throw new Error("locked");
  }, 10);
  work();
  await promise;
});
