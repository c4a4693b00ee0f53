import { Failure } from "../base/mod.ts";
import type { Platform } from "../oci/mod.ts";

const architectures: Record<string, string> = {
  x64: "amd64",
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  armhf: "arm",
  ia32: "386",
  i386: "386",
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
  return { os: "linux", architecture: architectures[process.arch] ?? process.arch };
}

/** `linux/arm64/v8`, `arm64`, `linux`: a platform; "" is the host's. @throws Failure "invalid" */
export function readPlatform(text: string): Platform {
  const host = hostPlatform();
  if (text === "" || text === "local") return host;
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw new Failure("invalid", `Cannot use platform "${text.slice(0, 100)}"`, {
      hint: "A platform is os/architecture[/variant], for example linux/arm64",
    });
  }
  const normal = (name: string) => architectures[name] ?? name;
  const [first, second, variant] = parts as [string, string?, string?];
  if (second === undefined) {
    if (first === host.os) return host;
    if (known.includes(normal(first))) return { os: host.os, architecture: normal(first) };
    throw new Failure(
      "invalid",
      `Cannot use platform "${text}": unknown operating system or architecture`,
    );
  }
  const architecture = normal(second);
  // arm64/v8 and arm64 are the same machine; the image specification leaves the variant out.
  const plain = variant === undefined || (architecture === "arm64" && variant === "v8");
  return { os: first, architecture, ...(plain ? {} : { variant }) };
}

/** `linux/amd64`, with the variant if there is one. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join("/");
}

/** The arguments that every Dockerfile may declare: TARGETPLATFORM and the seven others. */
export function platformArgs(target: Platform): Record<string, string> {
  const build = hostPlatform();
  return {
    BUILDPLATFORM: formatPlatform(build),
    BUILDOS: build.os,
    BUILDARCH: build.architecture,
    BUILDVARIANT: build.variant ?? "",
    TARGETPLATFORM: formatPlatform(target),
    TARGETOS: target.os,
    TARGETARCH: target.architecture,
    TARGETVARIANT: target.variant ?? "",
  };
}
