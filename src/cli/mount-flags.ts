/** `--mount`, `-v`, `--tmpfs` and `--device`. */

import type { MountRequest } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { resolve } from "./paths.ts";
import { parseSizeBytes } from "./units.ts";

/** The fields of one CSV line, with quotes as in RFC 4180. */
export function csvFields(text: string): string[] {
  const fields: string[] = [];
  const rule = /("(?:[^"]|"")*"|[^,]*)(,|$)/gy;
  for (;;) {
    const found = rule.exec(text);
    if (!found) throw new Failure("invalid", `parse error on "${text}": bare or missing quotes`);
    const field = found[1]!;
    fields.push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (found[2] === "") return fields;
  }
}

type Draft = { -readonly [K in keyof MountRequest]: MountRequest[K] };

function flag(name: string, value: string | undefined): boolean {
  if (value === undefined || /^(1|t|true|TRUE|True|T)$/.test(value)) return true;
  if (/^(0|f|false|FALSE|False|F)$/.test(value)) return false;
  throw new Failure("invalid", `invalid value for ${name}: ${value}`);
}

/** `type=bind,source=/a,target=/b,readonly`. @throws Failure "invalid" */
export function parseMount(text: string): MountRequest {
  const draft: Draft = { Type: "volume", Target: "" };
  for (const field of csvFields(text.trim())) {
    const equals = field.indexOf("=");
    const name = (equals === -1 ? field : field.slice(0, equals)).toLowerCase();
    const value = equals === -1 ? undefined : field.slice(equals + 1);
    const isSwitch =
      /^(readonly|ro|volume-nocopy|bind-nonrecursive|bind-create-src|bind-create-mountpoint)$/.test(
        name,
      );
    if (value === undefined && !isSwitch) {
      throw new Failure("invalid", `invalid field '${field}' must be a key=value pair`);
    }
    setMountField(draft, name, { value, field });
  }
  if (draft.Target === "") throw new Failure("invalid", "target is required");
  refuseForeignOptions(draft);
  return draft;
}

function setMountField(
  draft: Draft,
  name: string,
  { value, field }: { value: string | undefined; field: string },
): void {
  const text = value ?? "";
  switch (name) {
    case "type":
      draft.Type = text.toLowerCase() as Draft["Type"];
      return;
    case "source":
    case "src":
      draft.Source =
        text === "." || text.startsWith("./") || text.startsWith("..") ? resolve(text) : text;
      return;
    case "target":
    case "dst":
    case "destination":
      draft.Target = text;
      return;
    case "readonly":
    case "ro":
      draft.ReadOnly = flag(name, value);
      return;
    case "idmap":
      draft.IdMap = text;
      return;
    case "consistency":
      draft.Consistency = text.toLowerCase();
      return;
  }
  const [prefix] = name.split("-");
  const setter = { bind: setBind, volume: setVolume, tmpfs: setTmpfs, image: setImage }[prefix!];
  if (!setter?.(draft, name, value)) {
    throw new Failure("invalid", `unexpected key '${name}' in '${field}'`);
  }
}

function setBind(draft: Draft, name: string, value: string | undefined): boolean {
  const text = value ?? "";
  const options = draft.BindOptions ?? {};
  switch (name) {
    case "bind-propagation":
      draft.BindOptions = { ...options, Propagation: text.toLowerCase() };
      return true;
    case "bind-nonrecursive":
      draft.BindOptions = { ...options, NonRecursive: flag(name, value) };
      return true;
    case "bind-create-src":
    case "bind-create-mountpoint":
      draft.BindOptions = { ...options, CreateMountpoint: flag(name, value) };
      return true;
    case "bind-recursive":
      draft.BindOptions = { ...options, ...recursion(text) };
      return true;
  }
  return false;
}

function recursion(text: string): NonNullable<MountRequest["BindOptions"]> {
  if (text === "enabled") return {};
  if (text === "disabled") return { NonRecursive: true };
  if (text === "writable") return { ReadOnlyNonRecursive: true };
  if (text === "readonly") return { ReadOnlyForceRecursive: true };
  throw new Failure(
    "invalid",
    `invalid value for bind-recursive: ${text} (must be "enabled", "disabled", "writable", or "readonly")`,
  );
}

function setVolume(draft: Draft, name: string, value: string | undefined): boolean {
  const text = value ?? "";
  const options = draft.VolumeOptions ?? {};
  const [key, tail = ""] = text.split(/=(.*)/s) as [string, string?];
  const driver = options.DriverConfig ?? {};
  switch (name) {
    case "volume-nocopy":
      draft.VolumeOptions = { ...options, NoCopy: flag(name, value) };
      return true;
    case "volume-subpath":
      draft.VolumeOptions = { ...options, Subpath: text };
      return true;
    case "volume-label":
      draft.VolumeOptions = { ...options, Labels: { ...options.Labels, [key]: tail } };
      return true;
    case "volume-driver":
      draft.VolumeOptions = { ...options, DriverConfig: { ...driver, Name: text } };
      return true;
    case "volume-opt": {
      const Options = { ...driver.Options, [key]: tail };
      draft.VolumeOptions = { ...options, DriverConfig: { ...driver, Options } };
      return true;
    }
  }
  return false;
}

function setTmpfs(draft: Draft, name: string, value: string | undefined): boolean {
  const text = value ?? "";
  if (name === "tmpfs-size") {
    draft.TmpfsOptions = { ...draft.TmpfsOptions, SizeBytes: parseSizeBytes(text) };
    return true;
  }
  if (name !== "tmpfs-mode") return false;
  if (!/^[0-7]+$/.test(text)) throw new Failure("invalid", `invalid value for ${name}: ${text}`);
  draft.TmpfsOptions = { ...draft.TmpfsOptions, Mode: Number.parseInt(text, 8) };
  return true;
}

function setImage(draft: Draft, name: string, value: string | undefined): boolean {
  if (name !== "image-subpath") return false;
  draft.ImageOptions = { Subpath: value ?? "" };
  return true;
}

function refuseForeignOptions(draft: Draft): void {
  const owners = [
    ["BindOptions", "bind", "bind-*"],
    ["VolumeOptions", "volume", "volume-*"],
    ["ImageOptions", "image", "image-*"],
    ["TmpfsOptions", "tmpfs", "tmpfs-*"],
  ] as const;
  for (const [field, type, shown] of owners) {
    if (draft[field] && draft.Type !== type) {
      throw new Failure("invalid", `cannot mix '${shown}' options with mount type '${draft.Type}'`);
    }
  }
  const bind = draft.BindOptions;
  if (bind?.ReadOnlyNonRecursive && !draft.ReadOnly) {
    throw new Failure(
      "invalid",
      "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
    );
  }
  if (bind?.ReadOnlyForceRecursive && !draft.ReadOnly) {
    throw new Failure(
      "invalid",
      "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
    );
  }
}

/** What `-v` asks for: a bind of SOURCE:TARGET, or an anonymous volume at a path. */
export function parseVolumes(texts: readonly string[]): {
  binds: string[];
  volumes: Record<string, Record<string, never>>;
} {
  const binds: string[] = [];
  const volumes: Record<string, Record<string, never>> = {};
  for (const text of texts) {
    if (text === "") throw new Failure("invalid", "invalid empty volume spec");
    const parts = text.split(":");
    if (parts.some((part) => part === "")) {
      throw new Failure("invalid", `invalid spec: ${text}: empty section between colons`);
    }
    const isAnonymous = parts.length === 1;
    if (isAnonymous) volumes[text] = {};
    else {
      const [source, ...rest] = parts as [string, ...string[]];
      binds.push([source.startsWith(".") ? resolve(source) : source, ...rest].join(":"));
    }
  }
  return { binds, volumes };
}

/** `/run:rw,size=64m` → path and options. */
export function parseTmpfs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [path, options = ""] = text.split(/:(.*)/s) as [string, string?];
      return [path, options];
    }),
  );
}

/** `/dev/snd[:/dev/sound[:rwm]]`. @throws Failure "invalid" */
export function parseDevice(text: string) {
  const parts = text.split(":") as [string, string?, string?];
  if (parts.length > 3 || parts[0] === "") {
    throw new Failure("invalid", `bad format for path: ${text}`);
  }
  const [host, second, third] = parts;
  const isMode = (word: string | undefined) => /^[rwm]{1,3}$/.test(word ?? "");
  if (parts.length === 3 && !isMode(third)) {
    throw new Failure("invalid", `bad mode specified: ${third}`);
  }
  const inside = second === undefined || (parts.length === 2 && isMode(second)) ? host : second;
  return {
    PathOnHost: host,
    PathInContainer: inside,
    CgroupPermissions: third ?? (isMode(second) ? second! : "rwm"),
  };
}
