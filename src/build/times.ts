/** Which times an image gets: none that a clock gave, unless the build was asked to keep them. */
import { Failure } from "../base/mod.ts";
import type { BuildRequest } from "./types.ts";

/** The first moment that every format can say (ZIP begins in 1980): 1980-01-01T00:00:00Z. */
export const firstSeconds = 315_532_800;

const secondsMax = 253_402_300_799; // the last one of the year 9999

/** The times of one build, seconds since 1970. */
export interface Times {
  /** SOURCE_DATE_EPOCH, when it was given. */
  readonly given: number | undefined;
  /** When the context's newest commit was made, if it is known. */
  readonly commit: number | undefined;
  /** Files keep the time at which they were written, and the image says when it was made. */
  readonly kept: boolean;
}

/**
 * `SOURCE_DATE_EPOCH=context` is the time of the context's newest commit; without one it is not given.
 * As ARG the Dockerfile sees the number.
 */
export function withEpoch(request: BuildRequest): BuildRequest {
  const { SOURCE_DATE_EPOCH: epoch, ...others } = request.buildArgs;
  if (epoch !== "context") return request;
  const { commitSeconds } = request;
  const given = commitSeconds === undefined ? {} : { SOURCE_DATE_EPOCH: String(commitSeconds) };
  return { ...request, buildArgs: { ...others, ...given } };
}

/** @throws Failure "invalid" — SOURCE_DATE_EPOCH is no time */
export function timesOf(request: BuildRequest): Times {
  const text = request.buildArgs["SOURCE_DATE_EPOCH"];
  const given = typeof text === "string" && text !== "" ? readSeconds(text) : undefined;
  const kept = request.keepTimes === true && given === undefined;
  const { commitSeconds: commit } = request;
  if (commit !== undefined && !(commit >= 0 && commit <= secondsMax)) {
    throw new Failure("invalid", `invalid time of a commit: ${commit}`);
  }
  return { given, commit, kept };
}

function readSeconds(text: string): number {
  const seconds = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= secondsMax) return seconds;
  throw new Failure("invalid", `invalid SOURCE_DATE_EPOCH: ${text.slice(0, 100)}`, {
    hint: "It is a time in seconds since 1970, as `git log -1 --format=%ct` gives it",
  });
}

/**
 * The latest time that a file of a stage has: what was given, else its base image's, so that the same
 * layer is made from the same input whatever the commit. Undefined: times are kept.
 */
export function fileTime({ given, commit, kept }: Times, baseMs: number): number | undefined {
  if (kept) return undefined;
  const base = Math.max(firstSeconds, Math.floor(baseMs / 1000));
  return given ?? Math.min(base, commit ?? base);
}

/** When a step of an image was made, for its history. */
export function stepTimeMs({ given, commit, kept }: Times, baseMs: number): number {
  if (kept) return Date.now();
  return (given ?? Math.max(firstSeconds, Math.floor(baseMs / 1000), commit ?? 0)) * 1000;
}
