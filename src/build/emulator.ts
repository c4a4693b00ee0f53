/** Commands of another machine's platform: the kernel runs them when an emulator is registered. */
import { existsSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { formatPlatform, hostPlatform, type Platform } from "../oci/mod.ts";

/** Where emulators differ from platforms in their names. */
const machines: Readonly<Record<string, string>> = {
  amd64: "x86_64",
  arm64: "aarch64",
  "386": "i386",
  mips64le: "mips64el",
  loong64: "loongarch64",
};

const registered = "/proc/sys/fs/binfmt_misc";

/**
 * What to say when the kernel would not run a stage's program; undefined when the platform is the host's.
 * https://docs.kernel.org/admin-guide/binfmt-misc.html
 */
export function foreignFailure(platform: Platform): Failure | undefined {
  const host = hostPlatform();
  if (platform.os === host.os && platform.architecture === host.architecture) return undefined;
  const program = `qemu-${machines[platform.architecture] ?? platform.architecture}`;
  const isThere = existsSync(`${registered}/${program}`);
  const what = isThere
    ? `its emulator ${program} is registered, but the kernel did not take it`
    : `no emulator (${program}) is registered with the kernel`;
  const text = `Cannot run a command of ${formatPlatform(platform)} on ${formatPlatform(host)}: ${what}`;
  const install = isThere
    ? `Register it with the flag F, as Debian's packages do: containers do not see its file`
    : "Install it (Debian: qemu-user-static and binfmt-support)";
  return new Failure("unsupported", text, {
    hint: `${install}, or build the stage on this machine's platform: FROM --platform=$BUILDPLATFORM`,
  });
}
