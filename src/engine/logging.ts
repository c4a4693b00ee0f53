import { Failure } from "../base/mod.ts";
import type { Logging } from "../runtime/mod.ts";
import type { Container, HostConfig } from "./types.ts";

/** What is kept of a container's output unless it says otherwise. */
const bytesMaxDefault = 100 << 20;
const drivers = ["local", "json-file", "none"];
const known = new Set(
  "max-size max-file compress mode max-buffer-size labels labels-regex env env-regex tag".split(
    " ",
  ),
);
const units: Readonly<Record<string, number>> = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** The driver's name filled in. @throws "invalid" in Docker's words */
export function checkLogConfig(config: HostConfig["LogConfig"]): HostConfig["LogConfig"] {
  // docker-py reads the output of a run only where the driver is json-file or journald.
  const type = config.Type || "json-file";
  if (!drivers.includes(type)) {
    throw new Failure("invalid", `logger: no log driver named '${type}' is registered`, {
      hint: `Use one of ${drivers.join(", ")}`,
    });
  }
  const asked = config.Config ?? {};
  const odd = Object.keys(asked).find((key) => !known.has(key));
  if (odd !== undefined) {
    throw new Failure("invalid", `unknown log opt '${odd}' for ${type} log driver`);
  }
  bytesMaxOf(asked);
  return { Type: type, Config: asked };
}

export function loggingOf({ hostConfig, logDirectory }: Container): Logging {
  const { Type, Config } = hostConfig.LogConfig;
  if (Type === "none") return { kind: "none" };
  return { kind: "disk", directory: logDirectory, bytesMax: bytesMaxOf(Config) };
}

function bytesMaxOf(config: Readonly<Record<string, string>>): number {
  const { "max-size": size, "max-file": files = "1" } = config;
  if (size === undefined || size === "" || size === "-1") return bytesMaxDefault;
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)b?$/i.exec(size);
  const count = Number(files);
  const bytes = Number(match?.[1]) * units[(match?.[2] ?? "").toLowerCase()]! * count;
  if (match && Number.isInteger(count) && count >= 1 && bytes >= 1) return Math.ceil(bytes);
  throw new Failure("invalid", `invalid log options: max-size "${size}", max-file "${files}"`);
}
