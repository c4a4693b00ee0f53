import type { VolumeAnswer } from "../api/schema.ts";
import { defineCommand } from "./command.ts";
import { labelsText } from "./container-listing.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { checkFilter, parseFilters } from "./key-values.ts";
import { defineListing, showListing } from "./listing.ts";
import { complain } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    cluster: { kind: "bool", about: "Show cluster volumes alone", hidden: true },
    filter: {
      kind: "list",
      short: "f",
      word: "filter",
      about: "Show those that match: NAME=VALUE",
      check: checkFilter,
    },
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    quiet: { kind: "bool", short: "q", about: "Show names alone" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const { Volumes, Warnings } = await engineOf(globals).volumes.list(parseFilters(flags.filter));
    const sorted = (Volumes ?? []).toSorted((a, b) =>
      a.Name.localeCompare(b.Name, "en", { numeric: true }),
    );
    showListing(sorted, volumeListing, {
      format: flags.format,
      quiet: flags.quiet ? "Name" : undefined,
    });
    for (const warning of Warnings ?? []) complain(`WARNING: ${warning}`);
    return 0;
  },
});

/** How a volume looks in `volume ls` and `system df -v`. */
export const volumeListing = defineListing<VolumeAnswer>({
  typeName: "*formatter.volumeContext",
  columns: ["Driver", "Name"],
  fields: {
    Name: { heading: "VOLUME NAME", value: ({ Name }) => Name },
    Driver: { heading: "DRIVER", value: ({ Driver }) => Driver },
    Scope: { heading: "SCOPE", value: ({ Scope }) => Scope },
    Mountpoint: { heading: "MOUNTPOINT", value: ({ Mountpoint }) => Mountpoint },
    Labels: { heading: "LABELS", value: ({ Labels }) => labelsText(Labels) },
    Label: {
      heading: "",
      value:
        ({ Labels }) =>
        (name: string) =>
          Labels?.[name] ?? "",
    },
    Links: {
      heading: "LINKS",
      value: ({ UsageData }) => (UsageData ? String(UsageData.RefCount) : "N/A"),
    },
    Size: {
      heading: "SIZE",
      value: ({ UsageData }) => (UsageData ? humanSize(UsageData.Size, 4) : "N/A"),
    },
    Group: { heading: "GROUP", value: () => "N/A" },
    Availability: { heading: "AVAILABILITY", value: () => "N/A" },
    Status: { heading: "STATUS", value: () => "N/A" },
  },
});
