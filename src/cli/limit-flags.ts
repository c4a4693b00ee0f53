/** Flags that `run` and `update` share: limits of resources. */
import type { ResourceRequest, RestartPolicy } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { parseSizeBytes } from "./units.ts";

const ulimitNames = new Set(
  "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(
    " ",
  ),
);

/** `nofile=1024:2048`. @throws Failure "invalid" */
export function parseUlimit(text: string): { Name: string; Soft: number; Hard: number } {
  const found = /^([^=]+)=([^:]*)(?::(.*))?$/.exec(text);
  if (!found) throw new Failure("invalid", `invalid ulimit argument: ${text}`);
  const [, name, soft, hard = soft] = found;
  if (!ulimitNames.has(name!)) throw new Failure("invalid", `invalid ulimit type: ${name}`);
  const [Soft, Hard] = [soft, hard].map((value) => {
    if (!/^-?\d+$/.test(value!)) {
      throw new Failure("invalid", `strconv.ParseInt: parsing "${value}": invalid syntax`);
    }
    return Number(value);
  }) as [number, number];
  if (Hard !== -1 && (Soft === -1 || Soft > Hard)) {
    throw new Failure(
      "invalid",
      `ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`,
    );
  }
  return { Name: name!, Soft, Hard };
}

export function checkUlimit(text: string): void {
  parseUlimit(text);
}

/** `no`, `always`, `unless-stopped`, `on-failure[:3]`. @throws Failure "invalid" */
export function parseRestart(text: string): RestartPolicy {
  const [name, count, ...rest] = text.split(":") as [string, string?, ...string[]];
  if (rest.length > 0) throw new Failure("invalid", "invalid restart policy format");
  if (count !== undefined && name === "") {
    throw new Failure("invalid", "invalid restart policy format: no policy provided before colon");
  }
  if (count !== undefined && !/^-?\d+$/.test(count)) {
    throw new Failure(
      "invalid",
      "invalid restart policy format: maximum retry count must be an integer",
    );
  }
  return { Name: name as RestartPolicy["Name"], MaximumRetryCount: Number(count ?? 0) };
}

/** `/dev/sda:1mb` or `/dev/sda:1000`. @throws Failure "invalid" */
export function parseRate(text: string, isBytes: boolean): { Path: string; Rate: number } {
  const [path, rate, ...rest] = text.split(":") as [string, string?, ...string[]];
  if (rate === undefined || rest.length > 0) throw new Failure("invalid", `bad format: ${text}`);
  if (!path.startsWith("/dev/")) {
    throw new Failure("invalid", `bad format for device path: ${text}`);
  }
  if (!isBytes && !/^\d+$/.test(rate)) {
    throw new Failure(
      "invalid",
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>. Number must be a positive integer`,
    );
  }
  try {
    return { Path: path, Rate: isBytes ? parseSizeBytes(rate) : Number(rate) };
  } catch (cause) {
    throw new Failure(
      "invalid",
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb`,
      { cause },
    );
  }
}

/** `/dev/sda:500`. @throws Failure "invalid" */
export function parseWeight(text: string): { Path: string; Weight: number } {
  const [path, weight, ...rest] = text.split(":") as [string, string?, ...string[]];
  if (weight === undefined || rest.length > 0) throw new Failure("invalid", `bad format: ${text}`);
  if (!path.startsWith("/dev/")) {
    throw new Failure("invalid", `bad format for device path: ${text}`);
  }
  const number = Number(weight);
  if (!/^\d+$/.test(weight) || (number > 0 && (number < 10 || number > 1000))) {
    throw new Failure("invalid", `invalid weight for device: ${text}`);
  }
  return { Path: path, Weight: number };
}

export const checkWeight = (text: string): void => void parseWeight(text);
export const checkRate = (text: string): void => void parseRate(text, false);
export const checkByteRate = (text: string): void => void parseRate(text, true);

/** A rule of the devices cgroup: `c 1:3 rwm`. @throws Failure "invalid" */
export function checkRule(rule: string): void {
  if (/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(rule)) return;
  throw new Failure("invalid", `invalid device cgroup format '${rule}'`);
}

/** `--cpus 1.5` in billionths. @throws Failure "invalid" */
export function nanoCpus(cpus: number): number {
  return Math.round(cpus * 1e9);
}

/** The fields of `Resources` that `update` may set. */
export type Limits = Partial<ResourceRequest>;
