export type { ChangeKind, Layer, SnapshotStore } from "./types.ts";
