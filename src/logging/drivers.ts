import type { LogDriver } from "./lines.ts";
import { durationMs, flagOf } from "./options.ts";
import { openPluginDriver } from "./plugin.ts";
import type { Subject } from "./subject.ts";

type Options = Readonly<Record<string, string>>;
type Open = (subject: Subject, options: Options) => Promise<LogDriver>;

/** Loaded when one is asked for: most daemons never need TLS, gzip or templates for their logs. */
const drivers: Readonly<Record<string, () => Promise<Open>>> = {
  syslog: async () => (await import("./syslog.ts")).openSyslog,
  journald: async () => (await import("./journald.ts")).openJournal,
  fluentd: async () => (await import("./fluentd.ts")).openFluentd,
  gelf: async () => (await import("./gelf.ts")).openGelf,
};

/** Connects to a log server, or to a plugin of this name. @throws "unavailable" — it cannot be reached | "invalid" — an option */
export async function openDriver(
  name: string,
  subject: Subject,
  options: Options,
): Promise<LogDriver> {
  const load = Object.hasOwn(drivers, name) ? drivers[name] : undefined;
  if (!load) return await openPluginDriver(name, subject, options);
  const open = await load();
  return await open(subject, options);
}

/** Whether the container starts even when the server cannot be reached. */
export function isOpenedLater(options: Options): boolean {
  return flagOf(options, "fluentd-async") || flagOf(options, "fluentd-async-connect");
}

/** How a lost connection is made again. */
export interface Retry {
  readonly waitMs: number;
  /** After so many attempts, what was to be sent is given up. */
  readonly triesMax: number;
}

export function retryOf(options: Options): Retry {
  if (options["gelf-address"]?.startsWith("tcp:")) {
    const delayS = Number(options["gelf-tcp-reconnect-delay"] || 1);
    return { waitMs: delayS * 1_000, triesMax: Number(options["gelf-tcp-max-reconnect"] || 3) };
  }
  const waitMs = durationMs(options, "fluentd-retry-wait", 1_000);
  const tries = options["fluentd-max-retries"];
  return { waitMs, triesMax: tries ? Number(tries) : Number.POSITIVE_INFINITY };
}
