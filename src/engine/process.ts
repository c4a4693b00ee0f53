import { existsSync } from "node:fs";
import { hostname as hostHostname } from "node:os";
import { capabilities, type ProcessSpec, type Rlimit, resolveUser } from "../runtime/mod.ts";
import { environment } from "./environment.ts";
import { parseSecurity, type Security } from "./security.ts";
import type { Container, ExecRequest } from "./types.ts";

/** What else a first process gets: from links, before its own variables; from devices, after them. */
export interface Extras {
  readonly linkEnv: readonly string[];
  readonly deviceEnv: readonly string[];
  readonly gids: readonly number[];
}

/** The first process of a container; `root` is where its root filesystem is mounted. */
export function firstProcess(container: Container, root: string, extras: Extras): ProcessSpec {
  const { config, hostConfig } = container;
  const { user, home } = lookUp(root, config.User ?? "", hostConfig.GroupAdd);
  const additionalGids = [...new Set([...user.additionalGids, ...extras.gids])];
  const security = parseSecurity(hostConfig.SecurityOpt, hostConfig.Privileged);
  const { OomScoreAdj: oomScoreAdj } = hostConfig;
  return {
    args: [container.path, ...container.args],
    env: environment({
      hostname: config.Hostname,
      terminal: config.Tty,
      home,
      layers: [extras.linkEnv, config.Env, extras.deviceEnv],
    }),
    cwd: config.WorkingDir || "/",
    user: { ...user, additionalGids },
    terminal: config.Tty,
    capabilities: capabilities({
      add: hostConfig.CapAdd,
      drop: hostConfig.CapDrop,
      privileged: hostConfig.Privileged,
    }),
    noNewPrivileges: security.noNewPrivileges,
    rlimits: rlimits(container),
    ...(oomScoreAdj !== 0 ? { oomScoreAdj } : {}),
    ...confinement(security),
  };
}

/** One more process, that `exec` adds to a running container. */
export function addedProcess(
  container: Container,
  request: ExecRequest,
  { root, linkEnv }: { readonly root: string; readonly linkEnv: readonly string[] },
) {
  const { config, hostConfig } = container;
  const spec = request.user || config.User || "";
  const { user, home } = lookUp(root, spec, hostConfig.GroupAdd);
  const first = parseSecurity(hostConfig.SecurityOpt, hostConfig.Privileged);
  const process: ProcessSpec = {
    args: request.cmd,
    env: environment({
      hostname: config.Hostname,
      terminal: request.tty,
      home,
      layers: [linkEnv, config.Env, request.env],
    }),
    cwd: request.workingDir || config.WorkingDir || "/",
    user,
    terminal: request.tty,
    capabilities: capabilities({
      add: hostConfig.CapAdd,
      drop: hostConfig.CapDrop,
      privileged: hostConfig.Privileged || request.privileged,
    }),
    noNewPrivileges: first.noNewPrivileges,
    rlimits: rlimits(container),
    ...confinement(first),
  };
  return process;
}

let hasAppArmor: boolean | undefined;

/** As Docker: where the kernel has no AppArmor, a profile says nothing. */
function confinement({ apparmorProfile }: Security): Pick<ProcessSpec, "apparmorProfile"> {
  hasAppArmor ??= existsSync("/sys/kernel/security/apparmor/profiles");
  return apparmorProfile && hasAppArmor ? { apparmorProfile } : {};
}

function lookUp(root: string, spec: string, groupAdd: readonly string[] | null) {
  const { home, ...user } = resolveUser(root, spec, groupAdd ?? []);
  return { user, home };
}

function rlimits({ hostConfig }: Container): Rlimit[] {
  return (hostConfig.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({
    type: `RLIMIT_${Name.toUpperCase()}`,
    soft: Soft,
    hard: Hard,
  }));
}

/** A container on the host's network has the host's name unless it asked for one. */
export function hostnameFor(id: string, asked: string, mode: string): string {
  if (asked !== "") return asked;
  return mode === "host" ? hostHostname() : id.slice(0, 12);
}
