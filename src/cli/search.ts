import type { SearchResult } from "../api/schema.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { ellipsis } from "./human.ts";
import { checkFilter, parseFilters } from "./key-values.ts";
import { defineListing, showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS] TERM",
  flags: {
    filter: {
      kind: "list",
      short: "f",
      word: "filter",
      about: "Show those that match: NAME=VALUE",
      check: checkFilter,
    },
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    limit: { kind: "int", about: "Most results" },
    "no-trunc": { kind: "bool", about: "Do not shorten" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const rows = await engineOf(globals).images.search({
      term: args[0]!,
      filters: parseFilters(flags.filter),
      ...(flags.limit > 0 ? { limit: flags.limit } : {}),
    });
    showListing(rows, searchListing(flags["no-trunc"]), { format: flags.format });
    return 0;
  },
});

function searchListing(isWhole: boolean) {
  const mark = (is: boolean) => (is ? "[OK]" : "");
  const text = (description: string) => description.replace(/[\r\n]/g, " ");
  return defineListing<SearchResult>({
    typeName: "*registry.searchContext",
    columns: ["Name", "Description", "StarCount", "IsOfficial"],
    fields: {
      Name: { heading: "NAME", value: ({ name }) => name },
      Description: {
        heading: "DESCRIPTION",
        value: ({ description }) => (isWhole ? text(description) : ellipsis(text(description), 45)),
      },
      StarCount: { heading: "STARS", value: ({ star_count }) => String(star_count) },
      IsOfficial: { heading: "OFFICIAL", value: ({ is_official }) => mark(is_official) },
      IsAutomated: { heading: "AUTOMATED", value: ({ is_automated }) => mark(is_automated) },
    },
  });
}
