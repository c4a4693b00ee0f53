/** What copying a volume does about the containers that write to it. */
import { Failure } from "../base/mod.ts";

export const runningFlags = {
  live: { kind: "bool", about: "Copy while containers write: the copy may have halves of files" },
  pause: { kind: "bool", short: "p", about: "Freeze the containers that write to it meanwhile" },
} as const;

/** As the API names it. @throws Failure "invalid" — both flags */
export function runningMode({ live, pause }: { live: boolean; pause: boolean }): string {
  if (live && pause) {
    throw new Failure("invalid", "conflicting options: --live and --pause cannot be together");
  }
  return live ? "live" : pause ? "pause" : "refuse";
}
