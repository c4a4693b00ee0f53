import type { NetworkInspect } from "../api/schema.ts";
import { defineCommand } from "./command.ts";
import { labelsText } from "./container-listing.ts";
import { engineOf } from "./engine.ts";
import { goTimeExact, shortId } from "./human.ts";
import { checkFilter, parseFilters } from "./key-values.ts";
import { defineListing, showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    filter: {
      kind: "list",
      short: "f",
      word: "filter",
      about: "Show those that match: NAME=VALUE",
      check: checkFilter,
    },
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    "no-trunc": { kind: "bool", about: "Do not shorten" },
    quiet: { kind: "bool", short: "q", about: "Show IDs alone" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const rows = await engineOf(globals).networks.list(parseFilters(flags.filter));
    const sorted = rows.toSorted((a, b) => a.Name.localeCompare(b.Name, "en", { numeric: true }));
    showListing(sorted, networkListing(flags["no-trunc"]), {
      format: flags.format,
      quiet: flags.quiet ? "ID" : undefined,
    });
    return 0;
  },
});

function networkListing(isWhole: boolean) {
  return defineListing<NetworkInspect>({
    typeName: "*network.networkContext",
    columns: ["ID", "Name", "Driver", "Scope"],
    fields: {
      ID: { heading: "NETWORK ID", value: ({ Id }) => (isWhole ? Id : shortId(Id)) },
      Name: { heading: "NAME", value: ({ Name }) => Name },
      Driver: { heading: "DRIVER", value: ({ Driver }) => Driver },
      Scope: { heading: "SCOPE", value: ({ Scope }) => Scope },
      IPv4: { heading: "IPV4", value: ({ EnableIPv4 }) => String(EnableIPv4 ?? false) },
      IPv6: { heading: "IPV6", value: ({ EnableIPv6 }) => String(EnableIPv6) },
      Internal: { heading: "INTERNAL", value: ({ Internal }) => String(Internal) },
      Labels: { heading: "LABELS", value: ({ Labels }) => labelsText(Labels) },
      Label: {
        heading: "",
        value:
          ({ Labels }) =>
          (name: string) =>
            Labels?.[name] ?? "",
      },
      CreatedAt: { heading: "CREATED AT", value: ({ Created }) => goTimeExact(Created) },
    },
  });
}
