/** From the attributes of BuildKit's Dockerfile frontend to what the builder is asked for. */
import { Failure } from "../base/mod.ts";
import {
  type BuildRequest,
  type Entitlement,
  entitlements,
  type NamedContext,
  parseAttests,
  parseNamedContext,
} from "../build/mod.ts";
import { parseReference } from "../oci/mod.ts";

type Attributes = ReadonlyMap<string, string>;
type Asked = Omit<BuildRequest, "contextPath" | "dockerfile" | "signal" | "secrets" | "agents">;

const networks: Readonly<Record<string, string>> = {
  "": "",
  default: "",
  sandbox: "",
  none: "none",
  host: "host",
};

/** What begins with `prefix`, without it. */
function below(attributes: Attributes, prefix: string): [string, string][] {
  return [...attributes]
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, value]) => [name.slice(prefix.length), value]);
}

/** A list with commas, of which an empty text has none. */
function listOf(text: string | undefined): string[] {
  return (text ?? "").split(",").filter((each) => each !== "");
}

/** @throws Failure "invalid" | "unsupported" */
export function readAttributes(
  attributes: Attributes,
  { allow }: { allow: readonly string[] },
): Asked {
  const network = networks[attributes.get("force-network-mode") ?? ""];
  if (network === undefined) {
    throw new Failure(
      "invalid",
      `Cannot build on network "${attributes.get("force-network-mode")}"`,
    );
  }
  const noCache = attributes.get("no-cache");
  return {
    tags: [],
    buildArgs: Object.fromEntries(below(attributes, "build-arg:")),
    labels: Object.fromEntries(below(attributes, "label:")),
    target: attributes.get("target") ?? "",
    // The attribute's presence says all stages; stages in it say those.
    noCache: noCache === "",
    noCacheFilter: listOf(noCache),
    pull: attributes.get("image-resolve-mode") === "pull",
    platform: attributes.get("platform") ?? "",
    networkMode: network,
    extraHosts: listOf(attributes.get("add-hosts")).map((each) => each.replace("=", ":")),
    shmSizeBytes: Number(attributes.get("shm-size") ?? 0),
    memoryBytes: 0,
    cpuShares: 0,
    limits: {
      cgroupParent: attributes.get("cgroup-parent") ?? "",
      ulimits: listOf(attributes.get("ulimit")).map(readUlimit),
    },
    allow: allow.filter((each): each is Entitlement => entitlements.includes(each as Entitlement)),
    attest: parseAttests(below(attributes, "attest:").flatMap(readAttest)),
    isLive: true,
  };
}

/** `mode=max` of `attest:provenance`. */
function readAttest([type, text]: [string, string]): Readonly<Record<string, string>>[] {
  const pairs = listOf(text).map((each): [string, string] => {
    const [, key = each, value = "true"] = /^([^=]*)=(.*)$/s.exec(each) ?? [];
    return [key, value];
  });
  const { "inline-only": inline, ...given } = Object.fromEntries(pairs);
  // Nobody asked for it: clients add it to every build by themselves, and the image would be an index
  // with another ID than the same build has elsewhere.
  if (inline === "true") return [];
  return [{ type, ...given }];
}

/** `nofile=100:200`. */
function readUlimit(text: string): { name: string; soft: number; hard: number } {
  const [, name, soft, hard = soft] = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text) ?? [];
  if (name !== undefined) return { name, soft: Number(soft), hard: Number(hard) };
  throw new Failure(
    "invalid",
    `Cannot read the ulimit "${text.slice(0, 100)}": it is NAME=SOFT:HARD`,
  );
}

/** Brings what a client keeps, and gives the folder in which it is now. */
interface Bring {
  folder(name: string): Promise<string>;
  /** An OCI layout of what stands under a digest in a store. */
  layout(store: string, digest: string): Promise<string>;
}

/** Named contexts. `inputs` are those that the client gives beside the attributes. */
export async function readContexts(
  attributes: Attributes,
  inputs: ReadonlyMap<string, NamedContext>,
  bring: Bring,
): Promise<ReadonlyMap<string, NamedContext>> {
  const found = new Map<string, NamedContext>();
  for (const [written, text] of below(attributes, "context:")) {
    const name = written.replace(/::.*$/, ""); // one for each platform
    const input = text.startsWith("input:") ? inputs.get(text.slice("input:".length)) : undefined;
    if (input) {
      found.set(name, input);
      continue;
    }
    const [, folder] = /^local:(.+)$/.exec(text) ?? [];
    const [, store, digest] =
      /^oci-layout:(?:\/\/)?([^@]+)@(sha256:[0-9a-f]{64})$/.exec(text) ?? [];
    if (folder !== undefined) found.set(name, { kind: "folder", path: await bring.folder(folder) });
    else if (store !== undefined && digest !== undefined) {
      const path = await bring.layout(store.replace(/:[\w.-]*$/, ""), digest);
      found.set(name, { kind: "layout", path, version: digest });
    } else {
      const none = (): never => {
        throw new Failure("unsupported", `Cannot use the context "${name}": ${text.slice(0, 200)}`);
      };
      found.set(name, parseNamedContext(text, none));
    }
  }
  return found;
}

/** What a Dockerfile names that has to be asked of the client before the build. */
export interface Needs {
  readonly secrets: readonly string[];
  readonly agents: readonly string[];
  /** Domains of registries. */
  readonly registries: readonly string[];
}

const needsMax = 64;
const unique = (values: readonly string[]) => [...new Set(values)].slice(0, needsMax);

/**
 * Looks for names without understanding the Dockerfile: one too many is asked for and not used. Images
 * may also be named by arguments.
 */
export function needsOf(text: string, args: readonly string[]): Needs {
  const mounts = [...text.matchAll(/--mount=(\S+)/g)].map(
    ([, options = ""]) =>
      new Map(options.split(",").map((each) => each.split("=", 2) as [string, string])),
  );
  const named = (type: string) =>
    unique(mounts.flatMap((options) => (options.get("type") === type ? [idOf(options)] : [])));
  const images = [
    ...[...text.matchAll(/^\s*FROM\s+(?:--\S+\s+)*(\S+)/gim)].map(([, name = ""]) => name),
    ...[...text.matchAll(/\bfrom=(\S+?)(?:[,\s]|$)/g)].map(([, name = ""]) => name),
    ...[...text.matchAll(/^\s*ARG\s+\w+=(\S+)/gim)].map(([, value = ""]) => value),
    ...args,
  ];
  const isGit = /\.git\b|\bgit[:@]/.test(text);
  const hosts = [...text.matchAll(/\bhttps?:\/\/(?:[^\s/@]*@)?([^\s/?#]+)/g)].map(
    ([, host]) => host,
  );
  const tokens = ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"];
  const hosted = hosts.flatMap((host) => tokens.map((name) => `${name}.${host}`));
  const isSsh = isGit && /\bssh:\/\/|\b[\w.-]+@[\w.-]+:/.test(text);
  return {
    secrets: unique([...named("secret"), ...(isGit ? [...tokens, ...hosted] : [])]),
    agents: unique([...named("ssh"), ...(isSsh ? ["default"] : [])]),
    registries: unique(images.flatMap(domainOf)),
  };
}

function idOf(options: ReadonlyMap<string, string>): string {
  const fallback = options.get("type") === "ssh" ? "default" : "";
  const target = options.get("target") ?? options.get("dst") ?? options.get("destination") ?? "";
  return options.get("id") ?? (target === "" ? fallback : (target.split("/").at(-1) ?? fallback));
}

function domainOf(name: string): string[] {
  try {
    return [parseReference(name).domain];
  } catch {
    return []; // a stage's name, or a variable
  }
}
