/**
 * Debian's git on a stranger's repository: no hooks, no prompts, no configuration but ours, only the
 * protocols that were asked for, bounds on time and size. Secrets go by the environment, never as
 * arguments.
 */
import { mkdir } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import { type Outcome, runAny } from "../sys/mod.ts";
import type { Place } from "./follow.ts";
import type { GitAddress } from "./git-address.ts";

/** One repository's git: where it may work, for whom, and how it reaches the remote. */
export interface Git {
  /** A folder of its own, made by the caller. */
  readonly folder: string;
  readonly address: GitAddress;
  /** `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, also with `.host` behind, as BuildKit has them. */
  readonly secrets: ReadonlyMap<string, Uint8Array> | undefined;
  /** The socket of an SSH agent. */
  readonly agentPath: string | undefined;
  /** Keys of hosts that were seen before: a file that stays. */
  readonly knownHostsPath: string;
  readonly signal: AbortSignal;
}

/** Where a repository has moved to, and what was looked at there: git connects to that alone. */
export const movedTo = new WeakMap<Git, { readonly remote: string; readonly place: Place }>();

export const gitTimeoutMs = 10 * 60_000;
/** Of one file, so of a pack. */
const fileBytesMax = 4 * 2 ** 30;
const outputBytesMax = 32 << 20;

/** Runs git in the folder; a non-zero exit is an answer. @throws Failure as `runAny` */
export async function runGit(git: Git, args: readonly string[]): Promise<Outcome> {
  await mkdir(`${git.folder}/home`, { recursive: true, mode: 0o700 });
  // When the daemon is killed, `timeout` hears of it and ends the whole group: git and its transports.
  const seconds = String(gitTimeoutMs / 1000 + 60);
  const ended = ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", seconds] as const;
  return await runAny([...ended, "prlimit", `--fsize=${fileBytesMax}`, "git", ...args], {
    cwd: git.folder,
    env: environment(git),
    timeoutMs: gitTimeoutMs,
    outputBytesMax,
    signal: git.signal,
  });
}

/** Runs git and gives what it printed. @throws Failure in plain words when it does not succeed */
export async function gitText(git: Git, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runGit(git, args);
  if (exitCode === 0) return new TextDecoder().decode(stdout);
  throw gitFailure(git, stderr);
}

/** Passwords are not for messages. */
export function redacted(address: string): string {
  return address.replace(/^(\w+:\/\/[^/@:]*):[^/@]*@/, "$1:xxxxx@");
}

export function gitFailure({ address, knownHostsPath }: Git, stderr: string): Failure {
  const lines = stderr.split("\n").map((line) => line.trim());
  const said = lines.filter((line) => /^(fatal|error|remote|ssh:|Host key|.*denied)/i.test(line));
  const why = redacted((said[0] ?? lines.at(-1) ?? "").slice(0, 500).replace(/^fatal: /, ""));
  const text = `Cannot fetch ${redacted(address.remote)}: ${why || "git failed"}`;
  if (/Authentication failed|could not read (Username|Password)|Permission denied/.test(stderr)) {
    const hint =
      address.protocol === "ssh"
        ? "Forward an agent that has a key for it: --ssh default"
        : "Give a token for it: --secret id=GIT_AUTH_TOKEN,src=FILE";
    return new Failure("denied", text, { hint });
  }
  if (/^Host key .* changed/m.test(stderr)) {
    const hint = `If that is right, remove its line from ${knownHostsPath} on the engine's host`;
    return new Failure("denied", text, { hint });
  }
  if (/not found|does not exist|not appear to be a git repository/i.test(stderr)) {
    return new Failure("not_found", text);
  }
  return new Failure("unavailable", text);
}

function environment(git: Git): Record<string, string> {
  const { address } = git;
  const settings: [string, string][] = [
    ["core.hooksPath", "/dev/null"],
    ["core.fsmonitor", "false"],
    ["credential.helper", ""],
    ["http.followRedirects", "false"],
    ["init.defaultBranch", "main"],
    ["advice.detachedHead", "false"],
    ["gc.auto", "0"],
    ["protocol.ext.allow", "never"],
    ...authentication(git),
    ...pinned(movedTo.get(git)?.place),
  ];
  const counted = settings.flatMap(([key, value], index) => [
    [`GIT_CONFIG_KEY_${index}`, key],
    [`GIT_CONFIG_VALUE_${index}`, value],
  ]);
  const passed = ["PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy"]
    .concat(["https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"])
    .flatMap((name) => (process.env[name] ? [[name, process.env[name]] as const] : []));
  return {
    ...Object.fromEntries(passed),
    ...Object.fromEntries(counted),
    HOME: `${git.folder}/home`,
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_COUNT: String(settings.length),
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "/bin/false",
    SSH_ASKPASS: "/bin/false",
    // A repository's submodules may be anywhere, but never on this host.
    GIT_ALLOW_PROTOCOL: address.protocol === "file" ? "file" : "https:http:git:ssh",
    GIT_SSH_COMMAND: sshCommand(git),
    ...(git.agentPath ? { SSH_AUTH_SOCK: git.agentPath } : {}),
  };
}

/** A host's key is taken when it is first seen, and must be the same from then on. */
function sshCommand({ knownHostsPath }: Git): string {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=accept-new",
    `UserKnownHostsFile=${knownHostsPath}`,
    "ForwardAgent=no",
    "ConnectTimeout=20",
  ];
  return `ssh -F /dev/null ${options.map((option) => `-o '${option}'`).join(" ")}`;
}

/** What curl is to take a host's name for, so that it does not look it up anew. */
function pinned(place: Place | undefined): [string, string][] {
  if (!place?.addresses) return [];
  const { hostname, protocol, port } = place.url;
  const number = port || (protocol === "https:" ? "443" : "80");
  return [["http.curloptResolve", `${hostname}:${number}:${place.addresses.join(",")}`]];
}

/** The header goes to the remote's own host alone. */
function authentication({ address, secrets }: Git): [string, string][] {
  if (address.protocol !== "https" && address.protocol !== "http") return [];
  const { host, origin } = new URL(address.remote);
  const secret = (name: string) => {
    const bytes = secrets?.get(`${name}.${host}`) ?? secrets?.get(name);
    return bytes && Buffer.from(bytes).toString("utf8").trim();
  };
  const header = secret("GIT_AUTH_HEADER");
  const token = secret("GIT_AUTH_TOKEN");
  const basic =
    token && `basic ${Buffer.from(`x-access-token:${token}`, "utf8").toString("base64")}`;
  const value = header || basic;
  return value ? [[`http.${origin}/.extraHeader`, `Authorization: ${value}`]] : [];
}
