/** What changes while the daemon runs: SIGHUP reads `daemon.json` and the table of registries again. */
import { hostname } from "node:os";
import { log, setLogFormat, setLogLevel, toFailure } from "./base/mod.ts";
import { daemonKeys } from "./daemon-keys.ts";
import { checkLogConfig, type Engine } from "./engine/mod.ts";
import { type DaemonOptions, parseDaemonOptions } from "./options.ts";

/** The settings in force; some of them change. */
export interface Current {
  options: DaemonOptions;
}

/** What a good reload is handed to. It may throw, and then nothing has changed. */
type Take = (next: DaemonOptions) => void;

/** Puts in force what can be without stores. @throws "invalid" — a log driver or option that is none */
export function applySettings({ containers, logFormat, logLevel }: DaemonOptions): void {
  const { logDriver = "json-file", logOptions = {} } = containers;
  checkLogConfig({ Type: logDriver, Config: logOptions });
  setLogFormat(logFormat);
  setLogLevel(logLevel);
}

/** Reads again on each SIGHUP. What is wrong is logged, and all stays as it was. */
export function reloadOnHangup(
  current: Current,
  argv: readonly string[],
  { take, tell }: { take: Take; tell: (options: DaemonOptions) => void },
): void {
  process.on("SIGHUP", () => {
    try {
      const read = parseDaemonOptions(argv);
      if (read === "help") return;
      const next = withFixed(current.options, read);
      take(next);
      applySettings(next);
      current.options = next;
      for (const warning of read.warnings) log("warn", warning);
      log("info", "The settings were read again");
      tell(next);
    } catch (error) {
      const { message, hint = "" } = toFailure(error);
      log("error", "The settings stay as they were", { why: message, hint });
    }
  });
}

/** What cannot change stays, with a word about it. */
function withFixed(old: DaemonOptions, next: DaemonOptions): DaemonOptions {
  const said = (options: DaemonOptions, flag: string) => options.settings.get(flag)?.join("\n");
  const fixed = daemonKeys.filter(
    ({ flag, reloads }) => !reloads && said(old, flag) !== said(next, flag),
  );
  for (const { flag } of fixed) log("warn", "A setting holds after the next start", { flag });
  return {
    ...old,
    logLevel: next.logLevel,
    logFormat: next.logFormat,
    labels: next.labels,
    liveRestore: next.liveRestore,
    shutdownTimeoutS: next.shutdownTimeoutS,
    insecureRegistries: next.insecureRegistries,
    registryMirrors: next.registryMirrors,
    downloadsAtOnce: next.downloadsAtOnce,
    uploadsAtOnce: next.uploadsAtOnce,
    containers: next.containers,
  };
}

/** Docker's event of a reload, with its attributes. */
export function tellReload(engine: Engine, id: string, options: DaemonOptions): void {
  const { containers } = options;
  const json = (value: unknown) => JSON.stringify(value);
  engine.emit({
    type: "daemon",
    action: "reload",
    actor: {
      id,
      attributes: {
        name: hostname(),
        debug: String(options.logLevel === "debug"),
        labels: json(options.labels),
        "live-restore": String(options.liveRestore),
        "insecure-registries": json(options.insecureRegistries),
        "registry-mirrors": json(options.registryMirrors),
        "max-concurrent-downloads": String(options.downloadsAtOnce),
        "max-concurrent-uploads": String(options.uploadsAtOnce),
        "shutdown-timeout": String(options.shutdownTimeoutS),
        "default-runtime": options.runtime,
        "default-shm-size": String(containers.shmBytes ?? 64 << 20),
        "default-ipc-mode": containers.ipcMode ?? "private",
        "log-driver": containers.logDriver ?? "json-file",
        "log-opts": json(containers.logOptions ?? {}),
      },
    },
  });
}
