/** The word of `words` that `typed` most likely meant; undefined when none is near. */
export function closest(typed: string, words: readonly string[]): string | undefined {
  const near = words
    .map((word) => [distance(typed, word), word] as const)
    .filter(([steps, word]) => steps <= 2 && steps < Math.max(word.length, typed.length) - 1)
    .sort((a, b) => a[0] - b[0]);
  return near[0]?.[1] ?? words.find((word) => typed.length > 2 && word.startsWith(typed));
}

/** Levenshtein's distance, with a swap of neighbours as one step. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, before[j - 2]! + 1);
      }
      row.push(least);
    }
    before = above;
    above = row;
  }
  return above[b.length]!;
}
