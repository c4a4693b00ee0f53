/** Which program runs the containers, in its own words. */
import { log } from "../base/mod.ts";
import { runAny } from "../sys/mod.ts";
import type { EngineInfo } from "./context.ts";

const timeoutMs = 5_000;

export interface OciRuntime {
  readonly name: string;
  /** Empty where it did not say. */
  readonly version: string;
  readonly commit: string;
}

const asked = new Map<string, Promise<OciRuntime>>();

/** The default OCI runtime; its program is asked once. */
export function ociRuntime({ defaultRuntime = "crun", runtimes }: EngineInfo): Promise<OciRuntime> {
  const path = runtimes?.[defaultRuntime]?.path ?? defaultRuntime;
  const answer = asked.get(path) ?? ask(defaultRuntime, path);
  asked.set(path, answer);
  return answer;
}

async function ask(name: string, path: string): Promise<OciRuntime> {
  try {
    const { stdout } = await runAny([path, "--version"], { timeoutMs });
    return { name, ...parseVersion(new TextDecoder().decode(stdout)) };
  } catch (error) {
    log("debug", "Cannot ask an OCI runtime for its version", { path, error });
    return { name, version: "", commit: "" };
  }
}

/** `crun version 1.8.1`, and a line `commit: …`, as runc and crun print them. */
export function parseVersion(text: string): { version: string; commit: string } {
  return {
    version: /^\S+ version (\S+)/m.exec(text)?.[1] ?? "",
    commit: /^commit: (\S+)/m.exec(text)?.[1] ?? "",
  };
}
