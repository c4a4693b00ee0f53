import type { SystemInfo } from "../api/schema.ts";
import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { formatObject } from "./format-object.ts";
import { binarySize } from "./human.ts";
import { formatFlag } from "./inspect-objects.ts";
import { versionText } from "./mod.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: { format: formatFlag },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const ClientInfo = { Debug: globals.debug, Context: "default", Version: versionText() };
    let info: SystemInfo | undefined;
    let complaint = "";
    try {
      info = await engineOf(globals).system.info();
    } catch (error) {
      complaint = complaintText(error);
    }
    if (flags.format === "") print(infoText(ClientInfo, info));
    else print(formatObject({ ...info, ClientInfo }, flags.format));
    for (const warning of info?.Warnings ?? []) complain(warning);
    if (complaint === "") return 0;
    complain(`ERROR: ${complaint}\nerrors pretty printing info`);
    return 1;
  },
});

interface Plugins {
  readonly Volume?: readonly string[] | null;
  readonly Network?: readonly string[] | null;
  readonly Log?: readonly string[] | null;
}

function infoText(
  client: { Version: string; Context: string; Debug: boolean },
  info: SystemInfo | undefined,
): string {
  const lines = ["Client:", ` Version:    ${client.Version}`, ` Context:    ${client.Context}`];
  lines.push(` Debug Mode: ${client.Debug}`, "", "Server:");
  if (!info) return lines.join("\n");
  const more = info as Record<string, unknown>;
  const add = (name: string, value: unknown, indent = " ") => {
    if (value !== undefined && value !== "") lines.push(`${indent}${name}: ${value}`);
  };
  add("Containers", info.Containers);
  add("Running", info.ContainersRunning, "  ");
  add("Paused", info.ContainersPaused, "  ");
  add("Stopped", info.ContainersStopped, "  ");
  add("Images", info.Images);
  add("Server Version", info.ServerVersion);
  add("Storage Driver", info.Driver);
  for (const [name, value] of info.DriverStatus ?? []) add(name, value, "  ");
  add("Logging Driver", more["LoggingDriver"]);
  add("Cgroup Driver", info.CgroupDriver);
  add("Cgroup Version", info.CgroupVersion);
  const plugins = (more["Plugins"] ?? {}) as Plugins;
  lines.push(" Plugins:");
  for (const kind of ["Volume", "Network", "Log"] as const) {
    if (plugins[kind]) add(kind, plugins[kind].join(" "), "  ");
  }
  add(
    "Runtimes",
    Object.keys((more["Runtimes"] ?? {}) as object)
      .sort()
      .join(" "),
  );
  add("Default Runtime", info.DefaultRuntime);
  add("Init Binary", more["InitBinary"]);
  if (info.SecurityOptions?.length)
    lines.push(" Security Options:", ...securityLines(info.SecurityOptions));
  add("Kernel Version", info.KernelVersion);
  add("Operating System", info.OperatingSystem);
  add("OSType", info.OSType);
  add("Architecture", info.Architecture);
  add("CPUs", info.NCPU);
  add("Total Memory", binarySize(info.MemTotal));
  add("Name", info.Name);
  add("ID", info.ID);
  add("Docker Root Dir", info.DockerRootDir);
  add("Debug Mode", more["Debug"]);
  const labels = (more["Labels"] ?? []) as readonly string[];
  if (labels.length > 0) lines.push(" Labels:", ...labels.map((label) => `  ${label}`));
  add("Experimental", more["ExperimentalBuild"]);
  const registries = (more["RegistryConfig"] ?? {}) as Registries;
  const insecure = Object.values(registries.IndexConfigs ?? {}).filter(({ Secure }) => !Secure);
  addList(lines, "Insecure Registries", [
    ...insecure.map(({ Name }) => Name),
    ...(registries.InsecureRegistryCIDRs ?? []),
  ]);
  addList(lines, "Registry Mirrors", registries.Mirrors ?? []);
  for (const { Name, Mirrors } of Object.values(registries.IndexConfigs ?? {})) {
    if (Name !== "docker.io") addList(lines, `Registry Mirrors of ${Name}`, Mirrors);
  }
  add("Live Restore Enabled", more["LiveRestoreEnabled"]);
  return `${lines.join("\n")}\n`;
}

interface Registries {
  readonly InsecureRegistryCIDRs?: readonly string[];
  readonly IndexConfigs?: Readonly<
    Record<string, { Name: string; Mirrors: readonly string[]; Secure: boolean }>
  >;
  readonly Mirrors?: readonly string[] | null;
}

function addList(lines: string[], name: string, values: readonly string[]): void {
  if (values.length > 0) lines.push(` ${name}:`, ...values.map((value) => `  ${value}`));
}

/** `name=seccomp,profile=builtin` → a line with its name, and one for each further field. */
function securityLines(options: readonly string[]): string[] {
  return options.flatMap((option) => {
    const fields = option.split(",").map((field) => field.split(/=(.*)/s) as [string, string?]);
    const name = fields.find(([key]) => key === "name")?.[1] ?? option;
    const rest = fields.filter(([key]) => key !== "name");
    return [
      `  ${name}`,
      ...rest.map(([key, value = ""]) => `   ${key[0]!.toUpperCase()}${key.slice(1)}: ${value}`),
    ];
  });
}
