/** The lists of `lading manifest`: kept beside the client's configuration until they are pushed. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Failure, isFailure, limits } from "./base/mod.ts";
import { defaultFolder } from "./cli/credentials.ts";
import {
  type Descriptor,
  type Digest,
  digestOf,
  familiarReference,
  fullReference,
  isDigestOf,
  isImageConfigType,
  JsonReader,
  mediaTypes,
  type Platform,
  parseImageConfig,
  parseManifestOrIndex,
  parseReference,
  type Reference,
  readDescriptor,
  withDefaultTag,
} from "./oci/mod.ts";
import {
  copyManifest,
  type FetchedManifest,
  openRegistryClient,
  type RegistryClient,
} from "./registry/mod.ts";
import { nameIn, openRepository } from "./registry-open.ts";

interface Call<Flags> {
  readonly flags: Flags;
  readonly args: readonly string[];
  readonly signal: AbortSignal;
}

/** A list's entry: where the image is, and how the list will describe it. */
interface Entry {
  readonly reference: string;
  readonly descriptor: Descriptor;
}

const entriesMax = 1_000;

/** `create`: looks each image up in its registry, and reads its platform. */
export async function create({
  flags,
  args,
  signal,
}: Call<{ amend: boolean; insecure: boolean }>): Promise<string> {
  const [listName = "", ...names] = args;
  const list = nameOf(listName);
  const known = read(list);
  if (known && !flags.amend) {
    throw new Failure(
      "conflict",
      "refusing to amend an existing manifest list with no --amend flag",
    );
  }
  const entries = new Map((known ?? []).map((entry) => [entry.reference, entry]));
  for (const name of names) {
    const reference = withDefaultTag(parseReference(name));
    const client = clientFor(reference, flags.insecure);
    const { manifest, platform } = await lookUp(client, reference, signal);
    if (!manifest)
      throw new Failure("invalid", `${familiarReference(reference)} is a manifest list`);
    const { mediaType, digest, size } = manifest.descriptor;
    const descriptor = { mediaType, digest, size, ...(platform ? { platform } : {}) };
    const whole = fullReference(reference);
    entries.set(whole, { reference: whole, descriptor });
  }
  write(list, [...entries.values()]);
  return `Created manifest list ${list}\n`;
}

/** `annotate`: changes the platform of one entry. */
export async function annotate({
  flags,
  args,
}: Call<Record<"arch" | "os" | "os-version" | "variant", string> & { "os-features": string[] }>) {
  const [listName = "", name = ""] = args;
  const list = nameOf(listName);
  const entries = read(list) ?? absent(list);
  const reference = nameOf(name);
  const entry = entries.find((each) => each.reference === reference);
  if (!entry) {
    throw new Failure("not_found", `manifest for image ${reference} does not exist in ${list}`, {
      hint: `There are ${entries.map((each) => each.reference).join(", ")}`,
    });
  }
  for (const word of [flags.arch, flags.os, flags.variant]) {
    if (!/^[a-z0-9]*$/.test(word)) throw new Failure("invalid", `"${word}" is no platform's`);
  }
  const platform: Platform = {
    ...{ architecture: "", os: "" },
    ...entry.descriptor.platform,
    ...(flags.arch ? { architecture: flags.arch } : {}),
    ...(flags.os ? { os: flags.os } : {}),
    ...(flags.variant ? { variant: flags.variant } : {}),
    ...(flags["os-version"] ? { "os.version": flags["os-version"] } : {}),
    ...(flags["os-features"].length > 0 ? { "os.features": flags["os-features"] } : {}),
  };
  const changed = { reference, descriptor: { ...entry.descriptor, platform } };
  write(
    list,
    entries.map((each) => (each === entry ? changed : each)),
  );
  return "";
}

/** `inspect`: a list that is here, one of its entries, or what a registry has. */
export async function inspect({
  flags,
  args,
  signal,
}: Call<{ insecure: boolean; verbose: boolean }>): Promise<string> {
  const list = args.length === 2 ? nameOf(args[0]!) : undefined;
  const reference = withDefaultTag(parseReference(args.at(-1)!));
  const client = clientFor(reference, flags.insecure);
  if (list) {
    const entries = read(list) ?? absent(list);
    const entry = entries.find((each) => each.reference === fullReference(reference));
    if (!entry) throw new Failure("not_found", `No such manifest: ${fullReference(reference)}`);
    return flags.verbose
      ? pretty(entry)
      : await shown(client, withDigest(reference, entry.descriptor.digest), signal);
  }
  const kept = read(fullReference(reference));
  if (kept) return flags.verbose ? pretty(kept) : pretty(listOf(kept));
  if (!flags.verbose) return await shown(client, reference, signal);
  const { manifest, platform, children } = await lookUp(client, reference, signal);
  if (manifest) return pretty(verboseOf(reference, manifest, platform));
  const all: object[] = [];
  for (const { digest } of children) {
    const child = withDigest(reference, digest);
    const found = await lookUp(client, child, signal);
    if (found.manifest) all.push(verboseOf(child, found.manifest, found.platform));
  }
  return pretty(all);
}

/** `push`: the images first, wherever they are, then the list. Prints its digest. */
export async function push({
  flags,
  args,
  signal,
}: Call<{ insecure: boolean; purge: boolean }>): Promise<string> {
  const list = nameOf(args[0]!);
  const entries = read(list) ?? absent(list);
  const reference = parseReference(list);
  for (const { descriptor, reference: name } of entries) {
    if (descriptor.platform?.os && descriptor.platform.architecture) continue;
    throw new Failure("invalid", `manifest ${name} must have an OS and Architecture to be pushed`, {
      hint: `Say them with "lading manifest annotate ${args[0]} ${name} --os … --arch …"`,
    });
  }
  const target = await openRepository(clientFor(reference, flags.insecure), reference, true);
  const told: string[] = [];
  for (const { reference: name, descriptor } of entries) {
    const from = parseReference(name);
    const source = await openRepository(clientFor(from, flags.insecure), from);
    const { digest } = descriptor;
    await copyManifest({ source, target }, [digest, digest], { signal });
    told.push(
      `Pushed ref ${fullReference(withDigest(reference, digest))} with digest: ${digest}\n`,
    );
  }
  const value = listOf(entries);
  const bytes = Buffer.from(JSON.stringify(value));
  await target.putManifest(nameIn(reference), { mediaType: value.mediaType, bytes }, signal);
  if (flags.purge) rmSync(pathOf(list), { force: true });
  return `${told.join("")}${digestOf(bytes)}\n`;
}

/** `rm`: lists that are here. */
export async function remove({ args }: Call<object>): Promise<string> {
  const lists = args.map(nameOf);
  for (const list of lists) if (!read(list)) absent(list);
  for (const list of lists) rmSync(pathOf(list));
  return "";
}

interface Found {
  /** Undefined for an index. */
  readonly manifest: FetchedManifest | undefined;
  readonly platform: Platform | undefined;
  readonly children: readonly Descriptor[];
}

async function lookUp(
  client: RegistryClient,
  reference: Reference,
  signal: AbortSignal,
): Promise<Found> {
  const repository = await openRepository(client, reference);
  const manifest = await fetch(client, reference, signal);
  const parsed = parseManifestOrIndex(manifest.bytes);
  if ("index" in parsed) {
    return { manifest: undefined, platform: undefined, children: parsed.index.manifests };
  }
  const { config } = parsed.manifest;
  if (!isImageConfigType(config.mediaType) || config.size > limits.configBytesMax) {
    return { manifest, platform: undefined, children: [] };
  }
  const { stream } = await repository.blob(config.digest, { signal });
  const bytes = Buffer.concat(await Array.fromAsync(stream(config.size)));
  if (!isDigestOf(config.digest, bytes)) {
    throw new Failure("corrupt", `Cannot trust config ${config.digest} of ${reference.domain}`);
  }
  return { manifest, platform: platformOf(bytes), children: [] };
}

function platformOf(bytes: Uint8Array): Platform {
  const found = parseImageConfig(bytes);
  const version = found["os.version"];
  return {
    architecture: found.architecture,
    os: found.os,
    ...(found.variant ? { variant: found.variant } : {}),
    ...(version ? { "os.version": version } : {}),
  };
}

async function fetch(
  client: RegistryClient,
  reference: Reference,
  signal: AbortSignal,
): Promise<FetchedManifest> {
  const repository = await openRepository(client, reference);
  try {
    return await repository.manifest(nameIn(reference), signal);
  } catch (cause) {
    if (!isFailure(cause, "not_found")) throw cause;
    throw new Failure("not_found", `no such manifest: ${fullReference(reference)}`, { cause });
  }
}

async function shown(client: RegistryClient, reference: Reference, signal: AbortSignal) {
  const { bytes } = await fetch(client, reference, signal);
  return pretty(JSON.parse(Buffer.from(bytes).toString()));
}

function verboseOf(
  reference: Reference,
  { bytes, descriptor }: FetchedManifest,
  platform: Platform | undefined,
): object {
  const { mediaType, digest, size } = descriptor;
  const name = mediaType === mediaTypes.dockerManifest ? "SchemaV2Manifest" : "OCIManifest";
  return {
    Ref: fullReference(reference),
    Descriptor: { mediaType, digest, size, ...(platform ? { platform } : {}) },
    Raw: Buffer.from(bytes).toString("base64"),
    [name]: JSON.parse(Buffer.from(bytes).toString()),
  };
}

/** What is pushed: Docker's kind for Docker's manifests alone, else OCI's. */
function listOf(entries: readonly Entry[]) {
  const isDockers = entries.every(
    ({ descriptor }) => descriptor.mediaType === mediaTypes.dockerManifest,
  );
  const manifests = entries.map(({ descriptor: { mediaType, size, digest, platform } }) => ({
    ...{ mediaType, size, digest },
    ...(platform ? { platform } : {}),
  }));
  const mediaType = isDockers ? mediaTypes.dockerList : mediaTypes.ociIndex;
  return { schemaVersion: 2, mediaType, manifests };
}

const pretty = (value: unknown) => `${JSON.stringify(value, null, "\t")}\n`;

function clientFor({ domain }: Reference, isInsecure: boolean): RegistryClient {
  const key = `${domain} ${isInsecure}`;
  const known = clients.get(key) ?? openRegistryClient(isInsecure ? { insecure: [domain] } : {});
  clients.set(key, known);
  return known;
}
const clients = new Map<string, RegistryClient>();

function withDigest({ domain, path }: Reference, digest: Digest): Reference {
  return { domain, path, digest };
}

function nameOf(text: string): string {
  return fullReference(withDefaultTag(parseReference(text)));
}

function absent(list: string): never {
  throw new Failure("not_found", `No such manifest: ${list}`);
}

const folder = () => `${defaultFolder()}/lading-manifests`;
const pathOf = (list: string) => `${folder()}/${encodeURIComponent(list)}.json`;

function read(list: string): Entry[] | undefined {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(pathOf(list));
  } catch (cause) {
    if ((cause as { code?: string }).code === "ENOENT") return undefined;
    throw new Failure("denied", `Cannot read ${pathOf(list)}`, { cause });
  }
  return JsonReader.parse(bytes, `list ${pathOf(list)}`)
    .items(entriesMax)
    .map((item) => ({
      reference: item.field("reference").text(),
      descriptor: readDescriptor(item.field("descriptor")),
    }));
}

function write(list: string, entries: readonly Entry[]): void {
  if (entries.length > entriesMax) {
    throw new Failure("exhausted", `Cannot keep a list of over ${entriesMax} manifests`);
  }
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
  const temporary = `${pathOf(list)}.${process.pid}`;
  writeFileSync(temporary, pretty(entries));
  renameSync(temporary, pathOf(list));
}
