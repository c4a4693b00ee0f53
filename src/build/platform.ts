import { formatPlatform, hostPlatform, type Platform } from "../oci/mod.ts";

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
