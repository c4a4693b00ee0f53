import { Failure } from "../base/mod.ts";
import type { Platform } from "./types.ts";

const architectures: Readonly<Record<string, string>> = {
  x64: "amd64",
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  armhf: "arm",
  armel: "arm",
  ia32: "386",
  i386: "386",
  ppc64: "ppc64le",
};
const known = [
  "amd64",
  "arm64",
  "arm",
  "386",
  "ppc64le",
  "s390x",
  "riscv64",
  "mips64le",
  "loong64",
];

/** The platform of this host. */
export function hostPlatform(): Platform {
  const architecture = architectures[process.arch] ?? process.arch;
  return normalizePlatform({ os: "linux", architecture });
}

/** One spelling for each platform: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`. */
export function normalizePlatform(platform: Platform): Platform {
  const { variant: given, ...rest } = platform;
  const name = platform.architecture.toLowerCase();
  const architecture = architectures[name] ?? name;
  const variant = variantOf(architecture, name, given?.toLowerCase());
  const os = platform.os.toLowerCase();
  return { ...rest, os, architecture, ...(variant ? { variant } : {}) };
}

function variantOf(architecture: string, name: string, given: string | undefined) {
  const variant = given && /^\d$/.test(given) ? `v${given}` : given;
  if (architecture === "arm") return variant || (name === "armel" ? "v6" : "v7");
  if (architecture === "arm64" && variant === "v8") return undefined;
  if (architecture === "amd64" && variant === "v1") return undefined;
  return variant || undefined;
}

/** `linux/arm/v7`, `arm64`, `linux`: a platform; "" is the host's. @throws Failure "invalid" */
export function parsePlatform(text: string): Platform {
  const host = hostPlatform();
  if (text === "" || text === "local") return host;
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]{1,64}$/.test(part))) {
    throw new Failure("invalid", `invalid platform: "${text.slice(0, 100)}"`, {
      hint: "A platform is os/architecture[/variant], for example linux/arm64",
    });
  }
  const [first = "", second, variant] = parts;
  if (second !== undefined) {
    return normalizePlatform({ os: first, architecture: second, ...(variant ? { variant } : {}) });
  }
  if (first === host.os) return host;
  if (known.includes(architectures[first] ?? first)) {
    return normalizePlatform({ os: host.os, architecture: first });
  }
  throw new Failure(
    "invalid",
    `invalid platform: "${text}": unknown operating system or architecture`,
  );
}

/** `linux/amd64`, with the variant if there is one. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join("/");
}

/**
 * How well a machine of platform `wanted` runs what was made for `has`: 0 not at all, more is better.
 * A machine runs its own variant and the older ones: arm/v7 runs v6 and v5, amd64/v3 runs v2 and v1.
 */
export function rankPlatform(wanted: Platform, has: Platform): number {
  const [one, other] = [normalizePlatform(wanted), normalizePlatform(has)];
  if (one.os !== other.os || one.architecture !== other.architecture) return 0;
  const asked = levelOf(one);
  const found = levelOf(other);
  if (asked === undefined || found === undefined) return one.variant === other.variant ? 100 : 0;
  return found <= asked ? 100 - (asked - found) : 0;
}

function levelOf({ architecture, variant }: Platform): number | undefined {
  const level = /^v(\d)$/.exec(variant ?? (architecture === "arm64" ? "v8" : "v1"))?.[1];
  return level === undefined ? undefined : Number(level);
}

/** True when an image of platform `has` is what was asked for; an absent variant asks for any. */
export function matchesPlatform(wanted: Platform, has: Platform): boolean {
  return rankPlatform(wanted, has) > 0 || (!wanted.variant && sameMachine(wanted, has));
}

function sameMachine(wanted: Platform, has: Platform): boolean {
  const [one, other] = [normalizePlatform(wanted), normalizePlatform(has)];
  return one.os === other.os && one.architecture === other.architecture;
}
