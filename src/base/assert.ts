/** Throws where a programmer was wrong. For what a user or the world got wrong, throw a Failure. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Broken invariant: ${message}`);
}

/** Marks a branch that the types rule out. */
export function unreachable(value: never): never {
  throw new Error(`Broken invariant: unreachable ${JSON.stringify(value)}`);
}
