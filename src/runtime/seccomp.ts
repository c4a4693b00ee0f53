import { Failure } from "../base/mod.ts";

/** `linux.seccomp` of the OCI runtime specification. */
export interface OciSeccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly flags?: readonly string[];
  readonly syscalls: readonly OciSyscall[];
}

export interface OciSyscall {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly OciSyscallArg[];
}

export interface OciSyscallArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}

/** Whom a profile is resolved for. */
export interface SeccompSubject {
  /** `CAP_…` names of the bounding set. */
  readonly capabilities: readonly string[];
  /** Go's name of the machine: `amd64`, `arm64`. */
  readonly architecture: string;
  /** Major and minor number of the running kernel. */
  readonly kernel: readonly [number, number];
}

type Filter = { arches?: string[]; caps?: string[]; minKernel?: string };
type Rule = {
  name?: string;
  names?: string[];
  action: string;
  errnoRet?: number;
  args?: OciSyscallArg[] | null;
  includes?: Filter;
  excludes?: Filter;
};
type Profile = {
  defaultAction?: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  archMap?: { architecture: string; subArchitectures?: string[] | null }[];
  flags?: string[];
  syscalls?: Rule[] | null;
};

const machine: Readonly<Record<string, string>> = {
  amd64: "SCMP_ARCH_X86_64",
  arm64: "SCMP_ARCH_AARCH64",
};
const syscallsMax = 10_000;

/**
 * A profile in Docker's format as the OCI runtime takes it: rules for other machines, kernels and
 * capabilities are left out. https://docs.docker.com/engine/security/seccomp/
 *
 * @throws "invalid" — not such a profile
 */
export function resolveSeccomp(text: string, subject: SeccompSubject): OciSeccomp {
  const profile = parseProfile(text);
  const native = machine[subject.architecture];
  const mapped = profile.archMap?.find(({ architecture }) => architecture === native);
  const architectures = mapped
    ? [mapped.architecture, ...(mapped.subArchitectures ?? [])]
    : (profile.architectures ?? []);
  const rules = profile.syscalls ?? [];
  return {
    defaultAction: profile.defaultAction ?? "",
    ...errnoOf(profile.defaultErrnoRet, "defaultErrnoRet"),
    architectures,
    ...(profile.flags?.length ? { flags: profile.flags } : {}),
    syscalls: rules.filter((rule) => applies(rule, subject)).map(toOci),
  };
}

function parseProfile(text: string): Profile {
  let profile: Profile;
  try {
    profile = JSON.parse(text);
  } catch (cause) {
    throw new Failure("invalid", `Decoding seccomp profile failed: ${String(cause)}`, { cause });
  }
  const isWhole =
    typeof profile?.defaultAction === "string" &&
    (profile.syscalls === undefined ||
      profile.syscalls === null ||
      Array.isArray(profile.syscalls));
  if (!isWhole || (profile.syscalls?.length ?? 0) > syscallsMax) {
    throw new Failure("invalid", "Decoding seccomp profile failed: it has no default action");
  }
  if (profile.architectures?.length && profile.archMap?.length) {
    throw new Failure(
      "invalid",
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either one",
    );
  }
  for (const rule of profile.syscalls ?? []) {
    if (rule.name && rule.names?.length) {
      throw new Failure(
        "invalid",
        "both 'name' and 'names' are specified in the seccomp profile, use either one",
      );
    }
  }
  return profile;
}

function applies({ includes = {}, excludes = {} }: Rule, subject: SeccompSubject): boolean {
  const { architecture, capabilities, kernel } = subject;
  const has = (name: string) => capabilities.includes(name);
  if (excludes.arches?.includes(architecture)) return false;
  if (excludes.caps?.some(has)) return false;
  if (excludes.minKernel && isAtLeast(kernel, excludes.minKernel)) return false;
  if (includes.arches?.length && !includes.arches.includes(architecture)) return false;
  if (includes.caps?.length && !includes.caps.every(has)) return false;
  return !includes.minKernel || isAtLeast(kernel, includes.minKernel);
}

function isAtLeast(kernel: readonly [number, number], text: string): boolean {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  return kernel[0] > major || (kernel[0] === major && kernel[1] >= minor);
}

function toOci({ name, names, action, errnoRet, args }: Rule): OciSyscall {
  return {
    names: name ? [name] : (names ?? []),
    action,
    ...errnoOf(errnoRet, "errnoRet"),
    ...(args?.length ? { args } : {}),
  };
}

function errnoOf<K extends string>(value: number | undefined, key: K): { [key in K]?: number } {
  return (value === undefined || value === null ? {} : { [key]: value }) as { [key in K]?: number };
}
