/** What the daemon's settings say for containers that do not say it themselves. */
import type { HostConfig } from "./types.ts";

export interface ContainerDefaults {
  readonly logDriver?: string | undefined;
  readonly logOptions?: Readonly<Record<string, string>>;
  readonly ulimits?: readonly {
    readonly Name: string;
    readonly Soft: number;
    readonly Hard: number;
  }[];
  readonly shmBytes?: number | undefined;
  readonly init?: boolean | undefined;
  readonly ipcMode?: string | undefined;
  readonly cgroupnsMode?: string | undefined;
  readonly cgroupParent?: string | undefined;
  readonly noNewPrivileges?: boolean | undefined;
  readonly dnsOptions?: readonly string[];
  readonly dnsSearch?: readonly string[];
}

/** Fills in what `asked` leaves open. A container keeps what was the default when it was made. */
export function withDefaults(asked: HostConfig, defaults: ContainerDefaults): HostConfig {
  const saysItself = (asked.SecurityOpt ?? []).some((one) => /^no-new-privileges\b/.test(one));
  const init = asked.Init ?? defaults.init;
  return {
    ...asked,
    LogConfig: logConfig(asked.LogConfig, defaults),
    Ulimits: ulimits(asked.Ulimits, defaults.ulimits ?? []),
    ShmSize: asked.ShmSize || (defaults.shmBytes ?? 0),
    IpcMode: asked.IpcMode || (defaults.ipcMode ?? ""),
    CgroupnsMode: asked.CgroupnsMode || (defaults.cgroupnsMode ?? ""),
    CgroupParent: asked.CgroupParent || (defaults.cgroupParent ?? ""),
    SecurityOpt:
      defaults.noNewPrivileges && !saysItself
        ? [...(asked.SecurityOpt ?? []), "no-new-privileges"]
        : asked.SecurityOpt,
    DnsOptions: asked.DnsOptions.length > 0 ? asked.DnsOptions : (defaults.dnsOptions ?? []),
    DnsSearch: asked.DnsSearch.length > 0 ? asked.DnsSearch : (defaults.dnsSearch ?? []),
    ...(init === undefined ? {} : { Init: init }),
  };
}

/** As dockerd: the default options belong to the default driver, and give way one by one. */
function logConfig(asked: HostConfig["LogConfig"], defaults: ContainerDefaults) {
  const driver = defaults.logDriver || "json-file";
  if (asked.Type && asked.Type !== driver) return asked;
  return { Type: driver, Config: { ...defaults.logOptions, ...asked.Config } };
}

function ulimits(
  asked: HostConfig["Ulimits"],
  defaults: NonNullable<ContainerDefaults["ulimits"]>,
) {
  const named = new Set((asked ?? []).map(({ Name }) => Name));
  const added = defaults.filter(({ Name }) => !named.has(Name));
  return added.length === 0 ? asked : [...(asked ?? []), ...added];
}
