/** Texts for people in answers: how long ago, and what a container is doing. */
import type { Container, ContainerState } from "../engine/mod.ts";

const never = "0001-01-01T00:00:00Z";

/** "About a minute", "3 weeks": Docker's words for a span of time. */
export function spanWords(spanMs: number): string {
  const seconds = Math.floor(spanMs / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(spanMs / 60_000);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.floor(spanMs / 3_600_000 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

/** The `Status` of a container in a list: `Up 3 seconds (healthy)`. */
export function statusWords({ state }: Pick<Container, "state">, nowMs = Date.now()): string {
  const since = (time: string) => spanWords(Math.max(0, nowMs - Date.parse(time)));
  switch (state.status) {
    case "paused":
      return `Up ${since(state.startedAt)} (Paused)`;
    case "restarting":
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
    case "running":
      return `Up ${since(state.startedAt)}${healthWords(state)}`;
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
    case "created":
      return "Created";
    case "exited":
      if (state.startedAt === never) return "Created";
      return `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
  }
}

function healthWords({ health }: ContainerState): string {
  if (!health) return "";
  return health.Status === "starting" ? " (health: starting)" : ` (${health.Status})`;
}
