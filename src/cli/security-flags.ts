/** `--security-opt`: a seccomp profile is read here, since the engine may be elsewhere. */
import type { HostConfig } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { readText } from "./key-values.ts";

type SecurityRequest = Partial<Pick<HostConfig, "SecurityOpt" | "MaskedPaths" | "ReadonlyPaths">>;

/** @throws Failure "invalid" | "not_found" (the profile) */
export async function securityRequest(options: readonly string[]): Promise<SecurityRequest> {
  const sent: string[] = [];
  let showsSystem = false;
  for (const option of options) {
    const at = option.search(/[=:]/);
    const name = at === -1 ? option : option.slice(0, at);
    const value = at === -1 ? "" : option.slice(at + 1);
    if (at === -1 && option !== "no-new-privileges" && option !== "writable-cgroups") {
      throw new Failure("invalid", `Invalid --security-opt: "${option}"`);
    }
    if (name === "systempaths" && value === "unconfined") showsSystem = true;
    else if (name === "seccomp" && value !== "unconfined" && value !== "builtin") {
      sent.push(`seccomp=${await profile(value)}`);
    } else sent.push(option);
  }
  return {
    SecurityOpt: sent.length > 0 ? sent : null,
    ...(showsSystem ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
  };
}

async function profile(path: string): Promise<string> {
  const text = await readText(path).catch((cause: Error) => {
    const why = cause.message;
    throw new Failure("not_found", `opening seccomp profile (${path}) failed: ${why}`, { cause });
  });
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Failure("invalid", `compacting json for seccomp profile (${path}) failed: ${why}`, {
      cause,
    });
  }
}
