import { defineCommand } from "./command.ts";
import { hostOf } from "./globals.ts";
import { defineListing, showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    quiet: { kind: "bool", short: "q", about: "Show names alone" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const listing = defineListing<string>({
      typeName: "*formatter.clientContextContext",
      columns: ["Shown", "Description", "DockerEndpoint", "Error"],
      fields: {
        Shown: { heading: "NAME", value: () => "default *" },
        Name: { heading: "NAME", value: () => "default" },
        Description: { heading: "DESCRIPTION", value: () => "Named by flags and environment" },
        DockerEndpoint: { heading: "DOCKER ENDPOINT", value: (host) => host },
        Current: { heading: "CURRENT", value: () => true },
        Error: { heading: "ERROR", value: () => "" },
      },
    });
    const quiet = flags.quiet ? "Name" : undefined;
    showListing([hostOf(globals)], listing, { format: flags.format, quiet });
    return 0;
  },
});
