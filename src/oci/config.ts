import { Failure, limits } from "../base/mod.ts";
import { JsonReader, readFields } from "./json.ts";
import { readPlatformFields } from "./manifest.ts";
import type { Healthcheck, HistoryEntry, ImageConfig, RunConfig } from "./types.ts";

const historyMax = 10_000;

/**
 * Reads an image's config, OCI's or Docker's. Fields that we do not know are left out: whoever keeps an
 * image keeps the bytes, for its ID is their digest. @throws Failure "corrupt" | "exhausted"
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  if (bytes.length > limits.configBytesMax) {
    const why = `it has ${bytes.length} bytes, the bound is ${limits.configBytesMax}`;
    throw new Failure("exhausted", `Cannot read the image config: ${why}`);
  }
  const reader = JsonReader.parse(bytes, "image config");
  const platform = readPlatformFields(reader);
  const rootfs = reader.field("rootfs");
  if (rootfs.isAbsent) throw reader.fail("it has no rootfs");
  const type = rootfs.field("type").text();
  if (type !== "layers") throw rootfs.fail(`its type is "${type.slice(0, 100)}", not "layers"`);
  const diffIds = rootfs.field("diff_ids");
  return {
    ...platform,
    os: platform.os || "linux",
    ...readFields(reader, {
      created: (field) => field.text(),
      author: (field) => field.text(),
      config: readRunConfig,
      history: (field) => field.items(historyMax).map(readHistory),
      "lading.buildcache.v1": (field) => field.text(),
    }),
    rootfs: {
      type: "layers",
      diff_ids: diffIds.isAbsent
        ? []
        : diffIds.items(limits.layersMax).map((item) => item.digest()),
    },
  };
}

function readHistory(reader: JsonReader): HistoryEntry {
  return readFields(reader, {
    created: (field) => field.text(),
    created_by: (field) => field.text(),
    author: (field) => field.text(),
    comment: (field) => field.text(),
    empty_layer: (field) => field.flag(),
  });
}

function readRunConfig(reader: JsonReader): RunConfig {
  // Docker takes one text for a list of one.
  const command = (field: JsonReader) => {
    try {
      return [field.text()];
    } catch {
      return field.texts(); // not one text: a list, or wrong
    }
  };
  return readFields(reader, {
    User: (field) => field.text(),
    ExposedPorts: (field) => field.nameSet(),
    Env: (field) => field.texts(),
    Entrypoint: command,
    Cmd: command,
    Volumes: (field) => field.nameSet(),
    WorkingDir: (field) => field.text(),
    Labels: (field) => field.textMap(),
    StopSignal: (field) => field.text(),
    Healthcheck: readHealthcheck,
    OnBuild: (field) => field.texts(),
    Shell: (field) => field.texts(),
    ArgsEscaped: (field) => field.flag(),
    StopTimeout: (field) => field.integer(),
  });
}

function readHealthcheck(reader: JsonReader): Healthcheck {
  return readFields(reader, {
    Test: (field) => field.texts(),
    Interval: (field) => field.integer(),
    Timeout: (field) => field.integer(),
    StartPeriod: (field) => field.integer(),
    StartInterval: (field) => field.integer(),
    Retries: (field) => field.integer(),
  });
}

const cacheField = "lading.buildcache.v1";

/** The bytes of a config that is made here: fields in a fixed order, so that equal ones are one image. */
export function formatImageConfig(config: ImageConfig): Uint8Array {
  const { architecture, author, created, history, os, rootfs, variant } = config;
  const ordered = {
    architecture,
    ...(author ? { author } : {}),
    config: sortRunConfig(config.config ?? {}),
    ...(created ? { created } : {}),
    ...(history ? { history } : {}),
    ...(config[cacheField] ? { [cacheField]: config[cacheField] } : {}),
    os,
    ...(config["os.version"] ? { "os.version": config["os.version"] } : {}),
    ...(config["os.features"] ? { "os.features": config["os.features"] } : {}),
    rootfs,
    ...(variant ? { variant } : {}),
  };
  return Buffer.from(JSON.stringify(ordered));
}

function sortRunConfig(config: RunConfig): RunConfig {
  const sorted = (map: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
  const fields = Object.entries(config).filter(([, value]) => value !== undefined);
  const maps = ["ExposedPorts", "Volumes", "Labels"];
  return sorted(
    Object.fromEntries(
      fields.map(([name, value]) => [name, maps.includes(name) && value ? sorted(value) : value]),
    ),
  ) as RunConfig;
}
