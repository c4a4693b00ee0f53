import { Failure } from "../base/mod.ts";
import { defaultMaskedPaths, defaultReadonlyPaths } from "../runtime/mod.ts";
import type { HostConfig } from "./types.ts";

export interface Security {
  readonly noNewPrivileges: boolean;
  /** "default", "unconfined", or a profile in Docker's JSON format. */
  readonly seccomp: string;
  readonly apparmorProfile: string | undefined;
  readonly unmaskSystemPaths: boolean;
  readonly writableCgroups: boolean;
}

/** Reads `--security-opt`. @throws "invalid" in Docker's words */
export function parseSecurity(options: readonly string[] | null, privileged: boolean): Security {
  let noNewPrivileges = false;
  let seccomp = privileged ? "unconfined" : "default";
  let apparmorProfile: string | undefined;
  let unmaskSystemPaths = false;
  let writableCgroups = false;
  for (const option of options ?? []) {
    const [key = "", value] = split(option);
    switch (key) {
      case "no-new-privileges":
        noNewPrivileges = parseFlag(value, option);
        break;
      case "seccomp":
        seccomp = parseSeccomp(value, option);
        break;
      case "apparmor":
        apparmorProfile = required(value, option);
        break;
      case "label": // SELinux is not on this kind of host; as Docker there: accepted, no effect
        required(value, option);
        break;
      case "writable-cgroups":
        writableCgroups = parseFlag(value, option);
        break;
      case "systempaths":
        if (value !== "unconfined") throw refused(option, 2);
        unmaskSystemPaths = true;
        break;
      default:
        throw refused(option, value === undefined ? 1 : 2);
    }
  }
  return { noNewPrivileges, seccomp, apparmorProfile, unmaskSystemPaths, writableCgroups };
}

/** Paths that are hidden and paths that are read-only. */
export function systemPaths(host: HostConfig): { masked: string[]; readonly: string[] } {
  const security = parseSecurity(host.SecurityOpt, host.Privileged);
  if (host.Privileged || security.unmaskSystemPaths) return { masked: [], readonly: [] };
  return {
    masked: [...(host.MaskedPaths ?? defaultMaskedPaths)],
    readonly: [...(host.ReadonlyPaths ?? defaultReadonlyPaths)],
  };
}

function split(option: string): [string, string | undefined] {
  const at = option.search(/[=:]/);
  return at < 0 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
}

function parseFlag(value: string | undefined, option: string): boolean {
  if (value === undefined || ["true", "1", "t", "T", "TRUE", "True"].includes(value)) return true;
  if (["false", "0", "f", "F", "FALSE", "False"].includes(value)) return false;
  throw refused(option, 2);
}

function parseSeccomp(value: string | undefined, option: string): string {
  const text = required(value, option);
  if (text === "unconfined") return text;
  if (text === "builtin") return "default";
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new Failure("invalid", `Decoding seccomp profile failed: ${String(cause)}`, { cause });
  }
  return text;
}

function required(value: string | undefined, option: string): string {
  if (value) return value;
  throw refused(option, 1);
}

function refused(option: string, form: 1 | 2): Failure {
  return new Failure("invalid", `invalid --security-opt ${form}: "${option.slice(0, 200)}"`);
}
