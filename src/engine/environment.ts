import { Failure } from "../base/mod.ts";

export const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What a process gets, in Docker's order: PATH, HOSTNAME, TERM, then the user's, then HOME. */
export function environment(options: {
  readonly hostname: string;
  readonly terminal: boolean;
  readonly home: string;
  /** Later ones win; an entry without "=" takes a variable away. */
  readonly layers: readonly (readonly string[] | undefined)[];
}): string[] {
  const variables = new Map<string, string>([
    ["PATH", defaultPath],
    ["HOSTNAME", options.hostname],
  ]);
  if (options.terminal) variables.set("TERM", "xterm");
  for (const entry of options.layers.flatMap((layer) => layer ?? [])) {
    const at = entry.indexOf("=");
    if (at > 0) variables.set(entry.slice(0, at), entry.slice(at + 1));
    else variables.delete(entry);
  }
  if (!variables.has("HOME")) variables.set("HOME", options.home);
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

/** @throws "invalid" — an entry without a name, or with a NUL */
export function checkEnvironment(env: readonly string[] | undefined): void {
  for (const entry of env ?? []) {
    if (entry === "" || entry.startsWith("=") || entry.includes("\0")) {
      throw new Failure("invalid", `invalid environment variable: ${entry.slice(0, 200)}`);
    }
  }
}
