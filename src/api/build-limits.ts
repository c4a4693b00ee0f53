/** The limits of RUN in the query of `POST /build`. */
import { Failure } from "../base/mod.ts";
import type { RunLimits } from "../build/mod.ts";
import { Fields, parseJson } from "./fields.ts";
import { ulimit } from "./parse-host.ts";
import { whole } from "./query.ts";

/** @throws Failure "invalid" */
export function parseLimits(query: URLSearchParams): RunLimits {
  refuseIsolation(query.get("isolation") ?? "");
  const json = (name: string) => new Fields({ [name]: parseJson(query.get(name) || "null") }, "");
  const ulimits = json("ulimits").list("ulimits", ulimit) ?? [];
  return {
    memorySwapBytes: whole(query, "memswap") ?? 0,
    cpuPeriodUs: whole(query, "cpuperiod") ?? 0,
    cpuQuotaUs: whole(query, "cpuquota") ?? 0,
    cpus: query.get("cpusetcpus") ?? "",
    memoryNodes: query.get("cpusetmems") ?? "",
    cgroupParent: query.get("cgroupparent") ?? "",
    ulimits: ulimits.map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard })),
    securityOptions: json("securityopt").texts("securityopt") ?? [],
  };
}

function refuseIsolation(isolation: string): void {
  if (["", "default"].includes(isolation.toLowerCase())) return;
  throw new Failure("invalid", `Unsupported isolation: "${isolation.slice(0, 100)}"`, {
    hint: "Linux has none but default",
  });
}
