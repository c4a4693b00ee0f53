import { expect, test } from "bun:test";
import { parsePruneFilters } from "./route-build-prune.ts";

const plain = {
  type: "regular",
  description: "RUN make",
  sizeBytes: 1,
  createdMs: 0,
  costMs: 0,
} as const;
const rows = [
  { ...plain, id: "sha256:aa", lastUsedMs: 1000, inUse: true },
  { ...plain, id: "sha256:bb", lastUsedMs: 2000, inUse: false },
  {
    ...({ ...plain, type: "exec.cachemount", description: "cached mount /c" } as const),
    ...{ id: "folder", lastUsedMs: 3000, inUse: false },
  },
];

for (const [filters, asked] of [
  ["", ["sha256:aa", "sha256:bb", "folder"]],
  ['{"type":["exec.cachemount"]}', ["folder"]],
  ['{"description":["make"]}', ["sha256:aa", "sha256:bb"]],
  ['{"shared":["true"]}', []],
  ['{"until":["3"]}', ["sha256:aa", "sha256:bb"]],
  ['{"until":{"1h":true}}', ["sha256:aa", "sha256:bb", "folder"]],
  ['{"unused-for":["2"],"inuse":["true"]}', ["sha256:aa"]],
  ['{"id":["bb","fold"]}', ["sha256:bb", "folder"]],
  ['{"label":["a=b"]}', []],
  ['{"label!":["a=b"]}', ["sha256:aa", "sha256:bb", "folder"]],
] as const) {
  test(`parsePruneFilters() of ${filters || "none"} lets ${asked.length} rows go`, () => {
    const isAsked = parsePruneFilters(new URLSearchParams({ filters }));
    expect(rows.filter(isAsked).map(({ id }) => id)).toEqual([...asked]);
  });
}

for (const filters of ['{"until":["soon"]}', '{"until":["1","2"]}', '{"typo":["regular"]}']) {
  test(`parsePruneFilters() refuses ${filters}`, () => {
    expect(() => parsePruneFilters(new URLSearchParams({ filters }))).toThrow("invalid");
  });
}
