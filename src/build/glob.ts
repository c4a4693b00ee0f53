/**
 * Patterns as small machines that read a text once, whatever the pattern: a regular expression takes
 * longer than anybody lives over `a*a*a*a*a*a*b`, and a Dockerfile is anybody's.
 */

/** One step of a pattern. `chars`: as many as there are; `skip`: the next `count` steps may be left out. */
export type Step =
  | { readonly kind: "char" | "chars"; readonly accepts: (char: string) => boolean }
  | { readonly kind: "skip"; readonly count: number };

interface Range {
  readonly start: number;
  readonly end: number;
}

/** The states that are alive before a character, each with the leftmost start that leads to it. */
class States {
  readonly starts: Float64Array;
  readonly alive: number[] = [];
  readonly #steps: readonly Step[];

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.starts = new Float64Array(steps.length + 1).fill(Number.POSITIVE_INFINITY);
  }

  clear(): void {
    for (const at of this.alive) this.starts[at] = Number.POSITIVE_INFINITY;
    this.alive.length = 0;
  }

  add(first: number, start: number): void {
    const pending = [first];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      if (this.starts[at]! <= start) continue;
      if (this.starts[at] === Number.POSITIVE_INFINITY) this.alive.push(at);
      this.starts[at] = start;
      const step = this.#steps[at];
      if (step?.kind === "chars") pending.push(at + 1);
      if (step?.kind === "skip") pending.push(at + 1, at + step.count + 1);
    }
  }
}

export class Glob {
  readonly #steps: readonly Step[];

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }

  /** True when the pattern is the whole text. */
  test(text: string): boolean {
    const chars = [...text];
    return this.#run(chars, 0, { isFixed: true, isShortest: false })?.end === chars.length;
  }

  /** Where the shortest or the longest match ends that begins with the text. */
  prefix(chars: readonly string[], want: "shortest" | "longest"): number | undefined {
    return this.#run(chars, 0, { isFixed: true, isShortest: want === "shortest" })?.end;
  }

  /** The leftmost match from an offset on, and of those that begin there the longest. */
  find(chars: readonly string[], from: number): Range | undefined {
    return this.#run(chars, from, { isFixed: false, isShortest: false });
  }

  #run(
    chars: readonly string[],
    from: number,
    { isFixed, isShortest }: { isFixed: boolean; isShortest: boolean },
  ): Range | undefined {
    const accepting = this.#steps.length;
    let now = new States(this.#steps);
    let next = new States(this.#steps);
    let best: Range | undefined;
    for (let at = from; at <= chars.length; at++) {
      if (best === undefined && (at === from || !isFixed)) now.add(0, at);
      const start = now.starts[accepting]!;
      if (start <= (best?.start ?? Number.MAX_VALUE)) {
        best = { start, end: at };
        if (isShortest) return best;
      }
      if (at === chars.length || now.alive.length === 0) {
        if (isFixed || best !== undefined) return best;
        continue;
      }
      this.#step(chars[at]!, now, next);
      [now, next] = [next, now];
      next.clear();
    }
    return best;
  }

  #step(char: string, now: States, next: States): void {
    for (const at of now.alive) {
      const step = this.#steps[at];
      if (!step || step.kind === "skip" || !step.accepts(char)) continue;
      next.add(step.kind === "chars" ? at : at + 1, now.starts[at]!);
    }
  }
}
