/** Parts of the data root with their owners, for people and programs. */
import type { DiskAuditAnswer, DiskUnit } from "../api/schema.ts";
import { humanSize } from "./human.ts";
import { defineListing, showListing } from "./listing.ts";
import { print } from "./output.ts";

export const unitListing = defineListing<DiskUnit>({
  typeName: "*formatter.diskUnitContext",
  columns: ["Size", "Kind", "Owner", "Path"],
  fields: {
    Size: { heading: "SIZE", value: ({ bytes }) => humanSize(bytes, 4) },
    Bytes: { heading: "BYTES", value: ({ bytes }) => String(bytes) },
    Files: { heading: "FILES", value: ({ files }) => String(files) },
    Kind: { heading: "KIND", value: ({ kind }) => kind },
    Owner: { heading: "OWNER", value: ({ owner }) => owner ?? "NOBODY" },
    Path: { heading: "PATH", value: ({ path }) => path || "." },
  },
});

/** The largest first; below them the sum, which is what `du -sx` tells. */
export function showAudit({ dataRoot, units }: DiskAuditAnswer, format: string): number {
  const sorted = units.toSorted((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
  showListing(sorted, unitListing, { format });
  if (format !== "" && format !== "table") return 0;
  const sum = (list: readonly DiskUnit[]) => list.reduce((all, { bytes }) => all + bytes, 0);
  const lost = sum(units.filter(({ owner }) => owner === undefined));
  print(`\nTotal ${humanSize(sum(units), 4)} (${sum(units)} bytes) below ${dataRoot}`);
  if (lost > 0)
    print(`Of these ${humanSize(lost, 4)} belong to nobody: lading system fsck --repair`);
  return 0;
}
