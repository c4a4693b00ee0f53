import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { formatObject } from "./format-object.ts";
import { formatFlag } from "./inspect-objects.ts";
import { versionText } from "./mod.ts";
import { complain, print } from "./output.ts";

type Server = Awaited<ReturnType<ReturnType<typeof engineOf>["system"]["version"]>>;

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: { format: formatFlag },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const Client = clientVersion();
    const answer = await engineOf(globals)
      .system.version()
      .then(
        (server) => ({ server, complaint: "" }),
        (error: unknown) => ({ server: undefined, complaint: complaintText(error) }),
      );
    const { server, complaint } = answer;
    if (flags.format === "") print(versionLines(Client, server));
    else print(formatObject({ Client, Server: server ?? null }, flags.format));
    if (complaint === "") return 0;
    complain(complaint);
    return 1;
  },
});

interface ClientVersion {
  readonly Version: string;
  readonly ApiVersion: string;
  readonly DefaultAPIVersion: string;
  readonly GitCommit: string;
  readonly GoVersion: string;
  readonly Os: string;
  readonly Arch: string;
  readonly BuildTime: string;
  readonly Context: string;
}

function clientVersion(): ClientVersion {
  const api = "1.51";
  return {
    Version: versionText(),
    ApiVersion: process.env["DOCKER_API_VERSION"] ?? api,
    DefaultAPIVersion: api,
    GitCommit: "",
    GoVersion: `bun${Bun.version}`,
    Os: process.platform,
    Arch: process.arch === "x64" ? "amd64" : process.arch,
    BuildTime: "",
    Context: "default",
  };
}

function versionLines(client: ClientVersion, server: Server | undefined): string {
  const rows = (pairs: [string, string][], indent: string) =>
    pairs.map(([name, value]) => `${indent}${`${name}:`.padEnd(19 - indent.length + 1)}${value}`);
  const lines = [
    "Client:",
    ...rows(
      [
        ["Version", client.Version],
        ["API version", client.ApiVersion],
        ["Bun version", Bun.version],
        ["OS/Arch", `${client.Os}/${client.Arch}`],
        ["Context", client.Context],
      ],
      " ",
    ),
  ];
  if (!server) return lines.join("\n");
  lines.push("", `Server:${server.Platform?.Name ? ` ${server.Platform.Name}` : ""}`, " Engine:");
  lines.push(
    ...rows(
      [
        ["Version", server.Version],
        ["API version", `${server.ApiVersion} (minimum version ${server.MinAPIVersion})`],
        ["Git commit", server.GitCommit],
        ["Built", server.BuildTime],
        ["OS/Arch", `${server.Os}/${server.Arch}`],
        ["Kernel version", server.KernelVersion],
      ],
      "  ",
    ),
  );
  for (const { Name, Version } of server.Components ?? []) {
    if (Name !== "Engine") lines.push(` ${Name}:`, ...rows([["Version", Version]], "  "));
  }
  return lines.join("\n");
}
