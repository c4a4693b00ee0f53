import { defineCommand } from "./command.ts";
import { defaultContext } from "./context-endpoint.ts";
import { ContextStore, type StoredContext } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { currentContext } from "./globals.ts";
import { defineListing, showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    quiet: { kind: "bool", short: "q", about: "Show names alone" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const current = currentContext(globals);
    const listing = defineListing<StoredContext>({
      typeName: "*formatter.clientContextContext",
      columns: ["Shown", "Description", "DockerEndpoint", "Error"],
      fields: {
        Shown: { heading: "NAME", value: ({ name }) => (name === current ? `${name} *` : name) },
        Name: { heading: "NAME", value: ({ name }) => name },
        Description: { heading: "DESCRIPTION", value: ({ description }) => description },
        DockerEndpoint: { heading: "DOCKER ENDPOINT", value: ({ host }) => host },
        Current: { heading: "CURRENT", value: ({ name }) => name === current },
        Error: { heading: "ERROR", value: () => "" },
      },
    });
    const about = "Named by flags and environment";
    const first = { ...defaultContext(globals), description: about };
    const all = [first, ...new ContextStore(configFolder(globals)).list()];
    const quiet = flags.quiet ? "Name" : undefined;
    showListing(all, listing, { format: flags.format, quiet });
    return 0;
  },
});
