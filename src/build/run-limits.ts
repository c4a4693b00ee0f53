/** The limits of RUN in the words of the OCI runtime. */
import { availableParallelism } from "node:os";
import { Failure } from "../base/mod.ts";
import type { BundleSpec, Resources, Rlimit } from "../runtime/mod.ts";
import type { BuildRequest } from "./types.ts";

type Limited = Pick<BuildRequest, "memoryBytes" | "cpuShares" | "shmSizeBytes" | "limits">;

/** What is 0, empty or absent is not limited. */
export function runResources({ memoryBytes, cpuShares, limits = {} }: Limited): Resources {
  const { memorySwapBytes = 0, cpuPeriodUs = 0, cpuQuotaUs = 0, cpus, memoryNodes } = limits;
  // Without a word on swap, as much of it as of memory.
  const swap = memorySwapBytes !== 0 ? memorySwapBytes : memoryBytes > 0 ? memoryBytes * 2 : 0;
  const memory = {
    ...(memoryBytes > 0 ? { limit: memoryBytes } : {}),
    ...(swap !== 0 ? { swap } : {}),
  };
  const cpu = {
    ...(cpuShares > 0 ? { shares: cpuShares } : {}),
    ...(cpuPeriodUs > 0 ? { period: cpuPeriodUs } : {}),
    ...(cpuQuotaUs !== 0 ? { quota: cpuQuotaUs } : {}),
    ...(cpus ? { cpus } : {}),
    ...(memoryNodes ? { mems: memoryNodes } : {}),
  };
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    pids: { limit: processesMax },
  };
}

/** Processes and threads of one RUN: a fork bomb ends here, and no compiler comes near. */
const processesMax = 4096;

/** Resource limits of the process: setrlimit(2). */
export function runRlimits({ limits = {} }: Limited): Rlimit[] {
  return (limits.ulimits ?? []).map(({ name, soft, hard }) => {
    return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard };
  });
}

/** @throws Failure "invalid" — before the first step, not in its middle */
export function checkLimits({ memoryBytes, limits = {} }: Limited): void {
  const { memorySwapBytes = 0, cpuPeriodUs = 0, cpuQuotaUs = 0, cpus = "", ulimits = [] } = limits;
  const bad = (text: string) => new Failure("invalid", text);
  if (memoryBytes > 0 && memoryBytes < 6 << 20) {
    throw bad("Minimum memory limit allowed is 6MB");
  }
  if (memorySwapBytes > 0 && memoryBytes <= 0) {
    throw bad("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (memorySwapBytes > 0 && memorySwapBytes < memoryBytes) {
    throw bad("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (cpuPeriodUs !== 0 && (cpuPeriodUs < 1_000 || cpuPeriodUs > 1_000_000)) {
    throw bad(
      "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    );
  }
  if (cpuQuotaUs > 0 && cpuQuotaUs < 1_000) {
    throw bad("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  if (cpus !== "" && !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(cpus)) {
    throw bad(`Invalid value ${cpus.slice(0, 100)} for cpuset cpus: invalid format`);
  }
  if (cpus.split(/[,-]/).some((each) => Number(each) >= availableParallelism())) {
    const last = availableParallelism() - 1;
    throw bad(`Requested CPUs are not available - requested ${cpus}, available: 0-${last}`);
  }
  for (const { name, soft, hard } of ulimits) {
    if (!ulimitNames.includes(name)) throw bad(`invalid ulimit type: ${name.slice(0, 100)}`);
    if (hard !== -1 && (soft === -1 || soft > hard)) {
      throw bad(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
    }
  }
}

const ulimitNames =
  "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(
    " ",
  );

type Security = Pick<BundleSpec, "seccomp"> & {
  readonly noNewPrivileges: boolean;
  readonly apparmorProfile?: string;
};

/** `--security-opt` of a build. @throws Failure "invalid" */
export function runSecurity({ limits = {} }: Limited): Security {
  let security: Security = { seccomp: "default", noNewPrivileges: false };
  for (const option of limits.securityOptions ?? []) {
    const [, key, value = ""] = /^([^=:]+)(?:[=:](.*))?$/s.exec(option) ?? [];
    const isOn = value === "" || value === "true";
    if (key === "no-new-privileges" && (isOn || value === "false")) {
      security = { ...security, noNewPrivileges: isOn };
    } else if (key === "apparmor" && value !== "") {
      security = { ...security, apparmorProfile: value };
    } else if (key === "seccomp" && value !== "") {
      security = { ...security, seccomp: value === "builtin" ? "default" : checkedProfile(value) };
    } else if (key !== "label" || value === "") {
      throw new Failure("invalid", `invalid --security-opt: "${option.slice(0, 200)}"`);
    }
  }
  return security;
}

function checkedProfile(text: string): string {
  if (text === "unconfined") return text;
  try {
    JSON.parse(text);
    return text;
  } catch (cause) {
    throw new Failure("invalid", `Decoding seccomp profile failed: ${String(cause)}`, { cause });
  }
}
