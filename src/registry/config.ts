import { dirname, resolve } from "node:path";
import { Failure } from "../base/mod.ts";
import { JsonReader } from "../oci/mod.ts";
import { type Action, actions } from "./access.ts";
import { isPasswordHash } from "./access-passwords.ts";
import type { Rule } from "./access-rules.ts";
import { isRepositoryName } from "./protocol.ts";
import type { StoreBounds } from "./store-open.ts";

/** The registry's configuration file, read. */
export interface RegistryConfig {
  readonly auth: "token" | "basic";
  readonly publicUrl?: string;
  /** Paths, as seen from the file's folder. */
  readonly htpasswd?: string;
  readonly tls?: { readonly cert: string; readonly key: string };
  /** `s3://BUCKET/PREFIX?…`; absent: the disk. */
  readonly storage?: string;
  /** Hashes of passwords by name, of users and robots. */
  readonly passwords: ReadonlyMap<string, string>;
  readonly rules: readonly Rule[];
  readonly immutable: readonly TagPattern[];
  readonly quotas: readonly {
    readonly repositories: readonly string[];
    readonly bytesMax: number;
  }[];
  readonly retention: readonly RetentionRule[];
  readonly webhooks: readonly WebhookRule[];
  readonly upstreams: readonly UpstreamRule[];
  readonly limits: Readonly<Partial<Record<LimitName, number>>>;
}

export interface TagPattern {
  readonly repositories: readonly string[];
  readonly tags: readonly string[];
}

/** Tags that match and are neither among the last `keepLast` nor younger than `keepDays` are removed. */
export interface RetentionRule extends TagPattern {
  readonly keepLast?: number;
  readonly keepDays?: number;
  /** Manifests without a tag, that no index needs, go when they are older. */
  readonly untaggedDays?: number;
}

export interface WebhookRule {
  readonly url: string;
  readonly secret?: string;
  readonly events: readonly string[];
  readonly repositories: readonly string[];
}

export interface UpstreamRule {
  /** Repositories whose names begin so come from there: `hub/`. */
  readonly prefix: string;
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
}

const limitNames = [
  "blobBytesMax",
  "requestsPerSecond",
  "uploadsPerClientMax",
  "graceMinutes",
  "historyDays",
  "uploadHours",
] as const;
export type LimitName = (typeof limitNames)[number];

const itemsMax = 10_000;

/** @throws Failure "invalid" — says which field, and why */
export function parseConfig(bytes: Uint8Array, path: string): RegistryConfig {
  try {
    return readConfig(JsonReader.parse(bytes, `configuration "${path}"`), dirname(path));
  } catch (cause) {
    if (!(cause instanceof Failure)) throw cause;
    throw new Failure("invalid", cause.message, {
      ...(cause.hint ? { hint: cause.hint } : {}),
      cause,
    });
  }
}

/** What holds where there is no file. */
export const emptyConfig: RegistryConfig = {
  auth: "token",
  passwords: new Map(),
  rules: [],
  immutable: [],
  quotas: [],
  retention: [],
  webhooks: [],
  upstreams: [],
  limits: {},
};

const fields = [
  ...[
    "auth",
    "publicUrl",
    "htpasswd",
    "tls",
    "storage",
    "users",
    "robots",
    "rules",
    "immutable",
    "quotas",
    "retention",
  ],
  ...["webhooks", "upstreams", "limits"],
];

function readConfig(reader: JsonReader, folder: string): RegistryConfig {
  onlyFields(reader, fields);
  const { passwords, rules } = readRobots(reader.field("robots"));
  for (const [name, value] of entriesOf(reader.field("users"))) {
    passwords.set(userName(name, value), hash(value));
  }
  const publicUrl = optional(reader, "publicUrl", webUrl);
  const htpasswd = optional(reader, "htpasswd", (field) => resolve(folder, field.text()));
  const tls = optional(reader, "tls", (field) => {
    onlyFields(field, ["cert", "key"]);
    const path = (name: string) => resolve(folder, field.field(name).text());
    return { cert: path("cert"), key: path("key") };
  });
  const storage = optional(reader, "storage", (field) => field.text());
  return {
    ...(htpasswd === undefined ? {} : { htpasswd }),
    ...(tls === undefined ? {} : { tls }),
    ...(storage === undefined ? {} : { storage }),
    auth: optional(reader, "auth", (field) => oneOf(field, ["token", "basic"] as const)) ?? "token",
    ...(publicUrl === undefined ? {} : { publicUrl }),
    passwords,
    rules: [...rules, ...listOf(reader, "rules", (each) => readRule(each))],
    immutable: listOf(reader, "immutable", (each) => {
      onlyFields(each, ["repositories", "tags"]);
      return { repositories: globs(each, "repositories"), tags: globs(each, "tags") };
    }),
    quotas: listOf(reader, "quotas", (each) => {
      onlyFields(each, ["repositories", "bytesMax"]);
      return {
        repositories: globs(each, "repositories"),
        bytesMax: amount(each.field("bytesMax")),
      };
    }),
    retention: listOf(reader, "retention", readRetention),
    webhooks: listOf(reader, "webhooks", readWebhook),
    upstreams: listOf(reader, "upstreams", readUpstream),
    limits: readLimits(reader.field("limits")),
  };
}

function readRule(reader: JsonReader, name?: string): Rule {
  onlyFields(
    reader,
    name === undefined ? ["repositories", "who", "actions"] : ["repositories", "actions"],
  );
  return {
    repositories: globs(reader, "repositories"),
    who: name === undefined ? reader.field("who").texts(itemsMax) : [name],
    actions: reader
      .field("actions")
      .items(actions.length)
      .map((each) => oneOf<Action>(each, actions)),
  };
}

function readRobots(reader: JsonReader): { passwords: Map<string, string>; rules: Rule[] } {
  const passwords = new Map<string, string>();
  const rules: Rule[] = [];
  for (const [name, value] of entriesOf(reader)) {
    onlyFields(value, ["password", "rules"]);
    passwords.set(userName(name, value), hash(value.field("password")));
    rules.push(...listOf(value, "rules", (each) => readRule(each, name)));
  }
  return { passwords, rules };
}

function readRetention(reader: JsonReader): RetentionRule {
  onlyFields(reader, ["repositories", "tags", "keepLast", "keepDays", "untaggedDays"]);
  const numbers = ["keepLast", "keepDays", "untaggedDays"] as const;
  const found = numbers.flatMap((name) => {
    const value = optional(reader, name, amount);
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    repositories: globs(reader, "repositories"),
    tags: globs(reader, "tags"),
    ...Object.fromEntries(found),
  };
}

function readWebhook(reader: JsonReader): WebhookRule {
  onlyFields(reader, ["url", "secret", "events", "repositories"]);
  const secret = optional(reader, "secret", (field) => field.text());
  return {
    url: webUrl(reader.field("url")),
    ...(secret === undefined ? {} : { secret }),
    events: optional(reader, "events", (field) => field.texts(20)) ?? ["push", "delete"],
    repositories: globs(reader, "repositories"),
  };
}

function readUpstream(reader: JsonReader): UpstreamRule {
  onlyFields(reader, ["prefix", "url", "username", "password"]);
  const prefix = reader.field("prefix");
  if (!/\/$/.test(prefix.text()) || !isRepositoryName(prefix.text().slice(0, -1))) {
    throw prefix.fail('it is not the start of names, as "hub/"');
  }
  const username = optional(reader, "username", (field) => field.text());
  const password = optional(reader, "password", (field) => field.text());
  return {
    prefix: prefix.text(),
    url: webUrl(reader.field("url")),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

function readLimits(reader: JsonReader): RegistryConfig["limits"] {
  if (reader.isAbsent) return {};
  onlyFields(reader, limitNames);
  return Object.fromEntries(reader.entries().map(([name, value]) => [name, amount(value)]));
}

function onlyFields(reader: JsonReader, names: readonly string[]): void {
  for (const [name, value] of reader.entries()) {
    if (!names.includes(name)) throw value.fail(`no such field; there are ${names.join(", ")}`);
  }
}

function optional<T>(reader: JsonReader, name: string, read: (field: JsonReader) => T) {
  const field = reader.field(name);
  return field.isAbsent ? undefined : read(field);
}

function listOf<T>(reader: JsonReader, name: string, read: (item: JsonReader) => T): T[] {
  return (optional(reader, name, (field) => field.items(itemsMax)) ?? []).map(read);
}

function entriesOf(reader: JsonReader): [string, JsonReader][] {
  return reader.isAbsent ? [] : reader.entries(itemsMax);
}

/** Globs of names; absent: all. */
function globs(reader: JsonReader, name: string): string[] {
  return optional(reader, name, (field) => field.texts(itemsMax)) ?? ["**"];
}

function hash(reader: JsonReader): string {
  const text = reader.text();
  if (!isPasswordHash(text)) throw reader.fail("it is not a bcrypt or Argon2 hash");
  return text;
}

function userName(name: string, reader: JsonReader): string {
  if (/^[^\s:]{1,255}$/.test(name) && name !== "anonymous" && name !== "users") return name;
  throw reader.fail("this cannot be a user's name");
}

function webUrl(reader: JsonReader): string {
  const text = reader.text();
  if (!URL.canParse(text) || !/^https?:\/\//.test(text))
    throw reader.fail("it is not a web address");
  return text.replace(/\/+$/, "");
}

function amount(reader: JsonReader): number {
  const value = reader.integer();
  if (value < 0) throw reader.fail("it is negative");
  return value;
}

function oneOf<T extends string>(reader: JsonReader, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === reader.text());
  if (found === undefined) throw reader.fail(`it is none of ${allowed.join(", ")}`);
  return found;
}

/** The store's bounds as the configuration sets them. */
export function boundsOf({ limits }: RegistryConfig): Partial<StoreBounds> {
  const { graceMinutes, historyDays, uploadHours, uploadsPerClientMax } = limits;
  return {
    ...(graceMinutes === undefined ? {} : { graceMs: graceMinutes * 60_000 }),
    ...(historyDays === undefined ? {} : { historyMs: historyDays * 86_400_000 }),
    ...(uploadHours === undefined ? {} : { uploadMs: uploadHours * 3_600_000 }),
    ...(uploadsPerClientMax === undefined ? {} : { uploadsPerClientMax }),
  };
}
