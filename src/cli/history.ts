import type { HistoryItem } from "../api/schema.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { ago, ellipsis, humanSize, rfc3339, shortId } from "./human.ts";
import { defineListing, showListing } from "./listing.ts";

export const command = defineCommand({
  usage: "[OPTIONS] IMAGE",
  flags: {
    format: { kind: "string", about: '"table", "table TEMPLATE", "json" or a Go template' },
    human: { kind: "bool", short: "H", default: true, about: "Sizes and dates for people" },
    "no-trunc": { kind: "bool", about: "Do not shorten" },
    platform: { kind: "string", about: "Show this platform", hidden: true },
    quiet: { kind: "bool", short: "q", about: "Show IDs alone" },
  },
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const rows = await engineOf(globals).images.history(args[0]!);
    const listing = historyListing({ isWhole: flags["no-trunc"], isHuman: flags.human });
    showListing(rows, listing, { format: flags.format, quiet: flags.quiet ? "ID" : undefined });
    return 0;
  },
});

function historyListing({ isWhole, isHuman }: { isWhole: boolean; isHuman: boolean }) {
  return defineListing<HistoryItem>({
    typeName: "*image.historyContext",
    columns: ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
    fields: {
      ID: { heading: "IMAGE", value: ({ Id }) => (isWhole ? Id : shortId(Id)) },
      CreatedSince: {
        heading: isHuman ? "CREATED" : "CREATED AT",
        value: ({ Created }) => (isHuman ? ago(Created) : rfc3339(Created)),
      },
      CreatedAt: { heading: "CREATED AT", value: ({ Created }) => rfc3339(Created) },
      CreatedBy: { heading: "CREATED BY", value: ({ CreatedBy }) => creator(CreatedBy, isWhole) },
      Size: { heading: "SIZE", value: ({ Size }) => (isHuman ? humanSize(Size) : String(Size)) },
      Comment: { heading: "COMMENT", value: ({ Comment }) => Comment },
    },
  });
}

function creator(text: string, isWhole: boolean): string {
  const oneLine = text.replaceAll("\t", " ");
  return isWhole ? oneLine : ellipsis(oneLine, 45);
}
