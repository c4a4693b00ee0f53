/** How a container looks in `ps`. */
import type { ContainerSummary, Port } from "../api/schema.ts";
import { ago, ellipsis, goTime, humanSize, shortId } from "./human.ts";
import { defineListing } from "./listing.ts";

/** The listing of `ps`, whole (`--no-trunc`) or shortened. */
export function containerListing({ isWhole, hasSize }: { isWhole: boolean; hasSize: boolean }) {
  const shown = (id: string) => (isWhole ? id : shortId(id));
  const columns = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
  return defineListing<ContainerSummary>({
    typeName: "*formatter.ContainerContext",
    columns: hasSize ? [...columns, "Size"] : columns,
    fields: {
      ID: { heading: "CONTAINER ID", value: ({ Id }) => shown(Id) },
      Names: { heading: "NAMES", value: (row) => namesOf(row, isWhole).join(",") },
      Image: { heading: "IMAGE", value: (row) => imageOf(row, isWhole) },
      Command: {
        heading: "COMMAND",
        value: ({ Command }) => quoted(isWhole ? Command : ellipsis(Command, 20)),
      },
      CreatedAt: { heading: "CREATED AT", value: ({ Created }) => goTime(Created) },
      RunningFor: { heading: "CREATED", value: ({ Created }) => ago(Created) },
      Ports: { heading: "PORTS", value: ({ Ports }) => portsText(Ports ?? []) },
      State: { heading: "STATE", value: ({ State }) => State },
      Status: { heading: "STATUS", value: ({ Status }) => Status },
      Size: { heading: "SIZE", value: sizeOf },
      Labels: { heading: "LABELS", value: ({ Labels }) => labelsText(Labels) },
      Label: {
        heading: "",
        value:
          ({ Labels }) =>
          (name: string) =>
            Labels?.[name] ?? "",
      },
      Mounts: { heading: "MOUNTS", value: ({ Mounts }) => mountsText(Mounts, isWhole) },
      LocalVolumes: {
        heading: "LOCAL VOLUMES",
        value: ({ Mounts }) => String(Mounts.filter(({ Driver }) => Driver === "local").length),
      },
      Networks: {
        heading: "NETWORKS",
        value: ({ NetworkSettings }) => Object.keys(NetworkSettings?.Networks ?? {}).join(","),
      },
      Platform: { heading: "PLATFORM", value: () => null },
    },
  });
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function namesOf({ Names }: ContainerSummary, isWhole: boolean): string[] {
  const names = Names.map((name) => (name.startsWith("/") ? name.slice(1) : name));
  // A name with a slash is a link's; the container's own has none.
  return isWhole ? names : names.filter((name) => !name.includes("/"));
}

function imageOf({ Image, ImageID }: ContainerSummary, isWhole: boolean): string {
  if (Image === "") return "<no image>";
  if (isWhole) return Image;
  const isPart = /^[0-9a-f]{12,64}$/.test(Image) && ImageID.startsWith(`sha256:${Image}`);
  if (Image === ImageID || isPart) {
    return shortId(Image);
  }
  return Image.includes("@") ? Image.replace(/@sha256:[0-9a-f]{64}$/, "") : Image;
}

function sizeOf({ SizeRw = 0, SizeRootFs = 0 }: ContainerSummary): string {
  const own = humanSize(SizeRw);
  return SizeRootFs > 0 ? `${own} (virtual ${humanSize(SizeRootFs)})` : own;
}

/** `a=1,b=2`. */
export function labelsText(labels: Readonly<Record<string, string>> | null): string {
  return Object.entries(labels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(",");
}

function mountsText(mounts: ContainerSummary["Mounts"], isWhole: boolean): string {
  const names = mounts.map(({ Name, Source }) => Name || Source);
  return names.map((name) => (isWhole ? name : ellipsis(name, 15))).join(",");
}

/** By bytes, as Go compares: "0.0.0.0" comes before "::". */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

interface Group {
  readonly address: string;
  readonly type: string;
  first: number;
  last: number;
  readonly publicOffset: number | undefined;
}

/** `0.0.0.0:80-81->80-81/tcp, 443/tcp`: neighbouring ports become ranges. */
export function portsText(ports: readonly Port[]): string {
  if (ports.length === 0) return "";
  const sorted = [...ports].sort(
    (a, b) =>
      a.PrivatePort - b.PrivatePort ||
      compare(a.IP ?? "", b.IP ?? "") ||
      (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
      compare(a.Type, b.Type),
  );
  const groups: Group[] = [];
  const mapped: string[] = [];
  for (const { IP = "", PrivatePort, PublicPort, Type } of sorted) {
    const offset = PublicPort ? PublicPort - PrivatePort : undefined;
    if (offset !== undefined && offset !== 0) {
      mapped.push(`${host(IP)}:${PublicPort}->${PrivatePort}/${Type}`);
      continue;
    }
    const before = groups.findLast((group) => group.address === IP && group.type === Type);
    if (before && before.last === PrivatePort - 1 && before.publicOffset === offset) {
      before.last = PrivatePort;
    } else if (!before || before.last !== PrivatePort) {
      groups.push({
        address: IP,
        type: Type,
        first: PrivatePort,
        last: PrivatePort,
        publicOffset: offset,
      });
    }
  }
  return [...groups.sort((a, b) => a.first - b.first).map(groupText), ...mapped].join(", ");
}

function host(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

function groupText({ address, type, first, last, publicOffset }: Group): string {
  const range = first === last ? String(first) : `${first}-${last}`;
  if (publicOffset === undefined) return `${range}/${type}`;
  return `${address ? `${host(address)}:` : ""}${range}->${range}/${type}`;
}
