export type { ContentStore } from "./types.ts";
