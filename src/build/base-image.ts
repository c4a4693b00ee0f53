import { Failure } from "../base/mod.ts";
import type { Image } from "../image/mod.ts";
import {
  type Digest,
  formatPlatform,
  matchesPlatform,
  type Platform,
  parsePlatform,
} from "../oci/mod.ts";
import { keyOf, type StageState } from "./state.ts";
import { fileTime, type Times } from "./times.ts";
import type { Tools } from "./tools.ts";
import type { BuildEvent, BuildRequest } from "./types.ts";

/** Finds the image that a FROM or `--from` names. @throws Failure "not_found" in Docker's words */
export async function findImage(
  { images, pull }: Tools,
  request: BuildRequest,
  {
    name,
    platform,
    report,
  }: { name: string; platform: string; report: (event: BuildEvent) => void },
): Promise<Image> {
  const asked = platform || request.platform;
  const wanted = parsePlatform(asked);
  const local = request.pull && pull ? undefined : images.find(name);
  if (local && (asked === "" || matchesPlatform(wanted, local.config))) return local;
  if (pull) {
    return await pull(name, wanted, {
      registries: request.registries ?? {},
      report: (progress) => report({ kind: "pull", progress }),
      signal: request.signal,
    });
  }
  if (!local) {
    throw new Failure("not_found", `No such image: ${name}`, {
      hint: "Load or import it first: it is not in the local store",
    });
  }
  const has = formatPlatform(local.config);
  const text = `its platform (${has}) does not match the specified platform (${formatPlatform(wanted)})`;
  throw new Failure("not_found", `image with reference ${name} was found but ${text}`);
}

/** What a program finds on its path when the image says nothing. */
export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What FROM scratch begins with. */
export function emptyState(platform: Platform, times: Times): StageState {
  const timeMax = fileTime(times, 0);
  const key = startKey([], timeMax);
  return {
    platform,
    config: { Env: [`PATH=${defaultPath}`], WorkingDir: "/" },
    author: undefined,
    layers: [],
    history: [],
    made: new Map(),
    args: new Map(),
    hasCommand: false,
    key,
    trail: key,
    createdMs: 0,
    baseMs: 0,
    timeMax,
  };
}

/** What FROM an image begins with. */
export function stateOf({ id, config }: Image, times: Times): StageState {
  const { os, architecture, variant } = config;
  const baseMs = Date.parse(config.created ?? "") || 0;
  const timeMax = fileTime(times, baseMs);
  return {
    platform: { os, architecture, ...(variant ? { variant } : {}) },
    config: { ...config.config, Env: withPath(config.config?.Env ?? []) },
    author: config.author,
    layers: [...config.rootfs.diff_ids],
    history: [...(config.history ?? [])],
    made: new Map(),
    args: new Map(),
    hasCommand: false,
    key: startKey(config.rootfs.diff_ids, timeMax),
    trail: id,
    base: id,
    createdMs: baseMs,
    baseMs,
    timeMax,
  };
}

/** What the first step's key goes on from: the files below, and the time that files above get. */
function startKey(layers: readonly Digest[], timeMax: number | undefined): Digest {
  return keyOf("layers", layers, timeMax ?? "kept");
}

/** `ENV PATH=$PATH:/more` must work on every base: Docker gives those without a PATH one. */
function withPath(env: readonly string[]): readonly string[] {
  return env.some((entry) => entry.startsWith("PATH=")) ? env : [`PATH=${defaultPath}`, ...env];
}
