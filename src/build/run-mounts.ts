import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { Digest } from "../oci/mod.ts";
import { canMapOwners, type Mount, type OwnerMap } from "../sys/mod.ts";
import { word } from "./configure.ts";
import type { MountFlag } from "./instruction.ts";
import type { Tree } from "./places.ts";
import { Root } from "./rooted.ts";
import { planSecret, planSsh } from "./run-secrets.ts";
import { scanSources } from "./scan-sources.ts";
import type { StepScope } from "./scope.ts";
import { workdirOf } from "./state.ts";
import { openScratch } from "./tools.ts";

/** What a mount needs while the command runs; `cleanup` ends it. */
export interface OpenMount {
  readonly cleanup: AsyncDisposableStack;
  readonly root: string;
  /** Of the process's users; undefined: they are the host's. */
  readonly owners: OwnerMap | undefined;
}

/** One `--mount`: what the step's key depends on, and how to make it. */
export interface PlannedMount {
  readonly key: readonly unknown[];
  /** The digest of the files of the context that it shows, by where it shows them. */
  readonly content?: readonly [target: string, digest: string];
  readonly open: (at: OpenMount) => Promise<{ mounts: Mount[]; env?: string[] }>;
}

/** Plans the mounts of a RUN, in order. @throws Failure "unsupported" | "not_found" | "invalid" */
export async function planMounts(
  flags: readonly MountFlag[],
  scope: StepScope,
): Promise<PlannedMount[]> {
  const planned: PlannedMount[] = [];
  let agents = 0;
  for (const { type, options: written } of flags) {
    const options: Record<string, string> = {};
    for (const [key, value] of Object.entries(written)) {
      options[key] = word(scope.state, value, scope.options);
    }
    const ask = { options, scope };
    if (type === "bind") planned.push(await planBind(ask));
    else if (type === "cache") planned.push(await planCache(ask));
    else if (type === "tmpfs") planned.push(planTmpfs(ask));
    else if (type === "secret") planned.push(planSecret(ask));
    else planned.push(planSsh(ask, agents++));
  }
  return planned;
}

/** A bind mount for the runtime. */
export function bind(source: string, target: string, options: readonly string[]): Mount {
  return { type: "bind", source, target, options: ["rbind", "rprivate", ...options] };
}

/** Has a mount of files of ours show the owners of a map. An overlay's shows them already. */
export function shownTo(mount: Mount, owners: OwnerMap | undefined): Mount {
  if (!owners || mount.type !== "bind" || !canMapOwners(mount.source, owners)) return mount;
  return { ...mount, options: [...mount.options, "idmap"] };
}

/** One mount flag, its variables expanded. */
export interface Ask {
  readonly options: Readonly<Record<string, string>>;
  readonly scope: StepScope;
}

/** A flag of a mount that is there and not off. */
export const isOn = (value: string | undefined) =>
  value !== undefined && value !== "false" && value !== "0";

function targetOf({ options, scope }: Ask): string {
  return posix.resolve(workdirOf(scope.state), options["target"]!);
}

async function planBind(ask: Ask): Promise<PlannedMount> {
  const { options, scope } = ask;
  const target = targetOf(ask);
  const source = options["source"] ?? "/";
  const writable = isOn(options["readwrite"]) || options["readonly"] === "false";
  const mode = writable ? "rw" : "ro";
  const tree = await scope.build.places.tree(options["from"] ?? "", scope.stage);
  if (tree.kind === "layers") {
    const { layers, key } = tree;
    const open = async ({ cleanup, owners }: OpenMount) => {
      const path = await openLayers(layers, { scope, cleanup, source, owners });
      return { mounts: [bind(path, target, [mode])] };
    };
    return { key: ["bind", key, source, target, mode], open };
  }
  const { digest, open: copyTo } = await scanFolder(tree, source, scope);
  const open = async ({ cleanup, owners }: OpenMount) => {
    // A copy: what .dockerignore leaves out is not there, and what is written is thrown away.
    const scratch = cleanup.use(await openScratch(scope.build.tools, []));
    const path = await copyTo(scratch.root);
    const root = await scope.build.tools.snapshots.mount(scratch.key, owners);
    return { mounts: [bind(path.replace(scratch.root, root), target, [mode])] };
  };
  return { key: ["bind", source, target, mode], content: [target, digest], open };
}

/** The part of a folder at `source`: its digest, and a way to copy it. */
async function scanFolder(
  { root, ignore }: Tree & { kind: "folder" },
  source: string,
  scope: StepScope,
) {
  const { build } = scope;
  const {
    scanned,
    request,
    open: files,
  } = await scanSources(scope, {
    root,
    words: [source],
    ignore,
    exclude: [],
    parents: false,
    owners: false,
    archives: false,
  });
  const found = scanned.found[0];
  if (!found) throw missing(source);
  const open = async (targetRoot: string): Promise<string> => {
    const [one] = found;
    const name = one && !one.isFolder ? "/mounted-file" : "/mounted";
    await build.tools.trees.run(
      "copy",
      {
        ...request,
        root: (await files()).root,
        found,
        documents: [],
        downloads: [],
        targetRoot,
        target: name,
        owner: undefined,
        chmod: "",
      },
      build.signal,
    );
    return `${targetRoot}${name}`;
  };
  return { digest: scanned.digest, open };
}

function missing(source: string): Failure {
  return new Failure("not_found", `failed to mount: "${source}": not found`);
}

async function openLayers(
  layers: readonly Digest[],
  at: Omit<OpenMount, "root"> & { scope: StepScope; source: string },
): Promise<string> {
  const { owners } = at;
  const scratch = at.cleanup.use(await openScratch(at.scope.build.tools, layers, { owners }));
  using root = new Root(scratch.root);
  const place = root.find(at.source);
  if (!place) throw missing(at.source);
  return `${scratch.root}/${place.path}`;
}

/** A number of a mount's options; modes are octal. @throws Failure "invalid" */
export function numberOf(options: Ask["options"], name: string, fallback: number): number {
  const text = options[name];
  if (text === undefined) return fallback;
  const value = name === "mode" ? Number.parseInt(text, 8) : Number(text);
  const isWhole = name === "mode" ? /^[0-7]{1,5}$/.test(text) : /^\d{1,10}$/.test(text);
  if (isWhole) return value;
  throw new Failure("invalid", `invalid value for ${name}: "${text}"`);
}

async function planCache(ask: Ask): Promise<PlannedMount> {
  const { options, scope } = ask;
  const target = targetOf(ask);
  const sharing = options["sharing"] ?? "shared";
  if (sharing !== "shared" && sharing !== "private" && sharing !== "locked") {
    throw new Failure("invalid", `unsupported sharing value "${sharing}"`, {
      hint: "It is shared, private or locked",
    });
  }
  const name = options["id"] || target;
  // Builds that must not share folders name spaces of their own.
  const space = scope.build.request.buildArgs["BUILDKIT_CACHE_MOUNT_NS"];
  const id = space ? `${space}/${name}` : name;
  const wish = {
    id,
    sharing,
    mode: numberOf(options, "mode", 0o755),
    uid: numberOf(options, "uid", 0),
    gid: numberOf(options, "gid", 0),
  } as const;
  const { from, source = "/" } = options;
  const mode = isOn(options["readonly"]) ? "ro" : "rw";
  const { build, stage } = scope;
  const tree = from ? await build.places.tree(from, stage) : undefined;
  const open = async ({ cleanup }: OpenMount) => {
    const held = cleanup.use(await build.tools.folders.hold(wish));
    if (held.isNew && tree) await fillCache(tree, source, { scope, targetRoot: held.path });
    return { mounts: [bind(held.path, target, [mode])] };
  };
  return { key: ["cache", id, target, mode], open };
}

/** A new cache folder begins with what `from` and `source` name. */
async function fillCache(
  tree: Tree,
  source: string,
  { scope, targetRoot }: { scope: StepScope; targetRoot: string },
): Promise<void> {
  const { tools } = scope.build;
  await using scratch = tree.kind === "layers" ? await openScratch(tools, tree.layers) : undefined;
  const root = tree.kind === "layers" ? scratch!.root : tree.root;
  const filter = { ...noFilter, ignore: tree.kind === "layers" ? [] : tree.ignore };
  const { found } = await tools.trees.run("scan", { ...filter, root, words: [source] });
  if (!found[0]) throw missing(source);
  const copy = { ...filter, root, found: found[0], targetRoot };
  await tools.trees.run("copy", { ...copy, ...plainCopy });
}

const noFilter = {
  ignore: [],
  exclude: [],
  parents: false,
  owners: true,
  archives: false,
} as const;
const plainCopy = {
  documents: [],
  downloads: [],
  target: "/",
  owner: undefined,
  chmod: "",
} as const;

function planTmpfs(ask: Ask): PlannedMount {
  const target = targetOf(ask);
  const { size } = ask.options;
  if (size !== undefined && !/^\d{1,12}[bkmg]?$/i.test(size)) {
    throw new Failure("invalid", `invalid value for size: "${size}"`, { hint: "For example 64m" });
  }
  const options = ["nosuid", "nodev", ...(size ? [`size=${size.replace(/b$/i, "")}`] : [])];
  const mounts = [{ type: "tmpfs", source: "tmpfs", target, options }];
  return { key: ["tmpfs", target, size ?? ""], open: async () => ({ mounts }) };
}
