import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { imageListing, namedImages } from "./image-listing.ts";
import { checkFilter, parseFilters } from "./key-values.ts";
import { showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [REPOSITORY[:TAG]]",
  flags: {
    all: { kind: "bool", short: "a", about: "Show intermediate images too" },
    digests: { kind: "bool", about: "Show digests" },
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
  arguments: { min: 0, max: 1 },
  async run({ flags, args, globals }) {
    const filters = parseFilters(flags.filter);
    if (args[0]) filters["reference"] = [...(filters["reference"] ?? []), args[0]];
    const images = await engineOf(globals).images.list({ all: flags.all, filters });
    const hasDigests = flags.digests || /\.Digest\b/.test(flags.format);
    const listing = imageListing({ isWhole: flags["no-trunc"], hasDigests });
    showListing(namedImages(images, hasDigests), listing, {
      format: flags.format,
      quiet: flags.quiet ? "ID" : undefined,
    });
    return 0;
  },
});
