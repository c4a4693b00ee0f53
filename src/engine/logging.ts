import { Failure } from "../base/mod.ts";
import { checkOptions, isRemote, parseBytes } from "../logging/mod.ts";
import type { Logging } from "../runtime/mod.ts";
import type { Container, HostConfig } from "./types.ts";

/** What is kept of a container's output unless it says otherwise. */
const bytesMaxDefault = 100 << 20;

/** The driver's name filled in. @throws "invalid" in Docker's words */
export function checkLogConfig(config: HostConfig["LogConfig"]): HostConfig["LogConfig"] {
  // docker-py reads the output of a run only where the driver is json-file or journald.
  const type = config.Type || "json-file";
  const asked = config.Config ?? {};
  checkOptions(type, asked);
  bytesMaxOf(type, asked);
  return { Type: type, Config: asked };
}

export function loggingOf({ hostConfig, logDirectory }: Container): Logging {
  const { Type, Config } = hostConfig.LogConfig;
  if (Type === "none") return { kind: "none" };
  return { kind: "disk", directory: logDirectory, bytesMax: bytesMaxOf(Type, Config) };
}

/** Of a log that is sent elsewhere, a copy is kept under options of its own. */
function bytesMaxOf(type: string, config: Readonly<Record<string, string>>): number {
  const prefix = isRemote(type) ? "cache-" : "";
  const { [`${prefix}max-size`]: size, [`${prefix}max-file`]: files = "1" } = config;
  const count = Number(files);
  const refuse = (why: string) =>
    new Failure("invalid", `failed to initialize logging driver: ${why}`);
  if (!Number.isInteger(count)) throw refuse(`invalid ${prefix}max-file: "${files}"`);
  if (count < 1) throw refuse(`${prefix}max-file cannot be less than 1`);
  if (size === undefined || size === "" || size === "-1") return bytesMaxDefault;
  const bytes = (parseBytes(size) ?? 0) * count;
  if (bytes >= 1) return Math.ceil(bytes);
  throw refuse(`invalid size: '${size}'`);
}
