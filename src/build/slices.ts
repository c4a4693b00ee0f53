/** Work that stops now and then, so that who does it can let other work come between. */
export type Slices<Result> = Generator<undefined, Result>;

const sliceMs = 3;

/** Does it in one go. */
export function atOnce<Result>(work: Slices<Result>): Result {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value as Result;
  }
}

/** Does it while the event loop goes on: a Dockerfile of 4 MiB is a stranger's. */
export async function inSlices<Result>(work: Slices<Result>): Promise<Result> {
  let sinceMs = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value as Result;
    if (performance.now() - sinceMs < sliceMs) continue;
    await new Promise((resolve) => setImmediate(resolve));
    sinceMs = performance.now();
  }
}
