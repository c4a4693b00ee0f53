import { defineCommand } from "./command.ts";
import { containerListing } from "./container-listing.ts";
import { engineOf } from "./engine.ts";
import { checkFilter, parseFilters } from "./key-values.ts";
import { showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS]",
  flags: {
    all: { kind: "bool", short: "a", about: "Show stopped containers too" },
    filter: {
      kind: "list",
      short: "f",
      word: "filter",
      about: "Show those that match: NAME=VALUE",
      check: checkFilter,
    },
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    last: {
      kind: "int",
      short: "n",
      default: -1,
      about: "Show the last few created, in every state",
    },
    latest: { kind: "bool", short: "l", about: "Show the last one created, in every state" },
    "no-trunc": { kind: "bool", about: "Do not shorten" },
    quiet: { kind: "bool", short: "q", about: "Show IDs alone" },
    size: { kind: "bool", short: "s", about: "Show sizes" },
  },
  arguments: { min: 0, max: 0 },
  async run({ flags, globals }) {
    const wantsSize = flags.size || /\.Size\b/.test(flags.format);
    const limit = flags.latest ? 1 : flags.last;
    const rows = await engineOf(globals).containers.list({
      all: flags.all || limit > 0,
      size: wantsSize,
      filters: parseFilters(flags.filter),
      ...(limit > 0 ? { limit } : {}),
    });
    const listing = containerListing({ isWhole: flags["no-trunc"], hasSize: flags.size });
    showListing(rows, listing, { format: flags.format, quiet: flags.quiet ? "ID" : undefined });
    return 0;
  },
});
