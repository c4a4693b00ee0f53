import { Failure } from "../base/mod.ts";
import type { Route } from "./router.ts";

/** crun can freeze a process to disk only where it was built with CRIU; Debian 12's is not. */
export function noCheckpoints(): void {
  throw new Failure("unsupported", "Cannot checkpoint: the OCI runtime was built without CRIU", {
    hint: "Stop the container, or pause it, instead",
  });
}

export const checkpointRoutes: readonly Route[] = [
  ["GET", "/containers/{id}/checkpoints", noCheckpoints],
  ["POST", "/containers/{id}/checkpoints", noCheckpoints],
  ["DELETE", "/containers/{id}/checkpoints/{name}", noCheckpoints],
];
