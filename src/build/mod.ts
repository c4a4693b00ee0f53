export type { BuildEvent, Builder, BuildRequest } from "./types.ts";
