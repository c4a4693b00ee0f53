export type { HistoryRow, Image, ImageStore, Progress, Removal, Report } from "./types.ts";
