import { expect, test } from "bun:test";
import type { DiskAuditAnswer, DiskUsage } from "../api/schema.ts";
import { summaries, withExactSizes } from "./system-df.ts";

const usage = {
  LayersSize: 1000,
  Images: [
    { Containers: 1, Size: 250, SharedSize: 0 },
    { Containers: 0, Size: 750, SharedSize: 0 },
  ],
  Containers: [
    { Names: ["/runs"], State: "running", SizeRw: 1 },
    { Names: ["/ended"], State: "exited", SizeRw: 3 },
  ],
  Volumes: [
    { Name: "used", UsageData: { RefCount: 1, Size: 5 } },
    { Name: "idle", UsageData: { RefCount: 0, Size: 5 } },
  ],
  BuildCache: [{ InUse: false, Shared: false, Size: 7 }],
} as unknown as DiskUsage;

const unit = (kind: string, owner: string, bytes: number) => ({
  path: owner,
  files: 1,
  kind,
  owner,
  bytes,
});
const disk = {
  dataRoot: "/x",
  units: [
    unit("image", "image a", 4000),
    unit("container", "container runs", 8192),
    unit("container", "container ended", 4096),
    unit("volume", "volume used", 4096),
    unit("volume", "volume idle", 12288),
    unit("build cache", "a build step", 4096),
    unit("engine", "the engine", 10),
  ],
} as DiskAuditAnswer;

test("withExactSizes() counts what a prune frees as it counts what there is: in bytes of the disk", () => {
  const rows = withExactSizes(summaries(usage), usage, disk);
  expect(rows.map(({ type, size, reclaimable }) => [type, size, reclaimable])).toEqual([
    ["Images", 4000, 3000],
    ["Containers", 12288, 4096],
    ["Local Volumes", 16384, 12288],
    ["Build Cache", 4096, 4096],
    ["Engine", 10, 0],
  ]);
});
