/** Tables and `--format`: what every `ls` has in its output. */
import { Failure } from "../base/mod.ts";
import { alignColumns } from "./columns.ts";
import { write } from "./output.ts";

/** One field of a row, by Go's name. A function is a method that takes arguments: `.Label "x"`. */
export interface Field<T> {
  readonly heading: string;
  value(row: T): unknown;
}

/** What a kind of row looks like. */
export interface Listing<T> {
  /** The Go type that error texts of Docker name. */
  readonly typeName: string;
  readonly fields: Readonly<Record<string, Field<T>>>;
  /** The columns of the plain table. */
  readonly columns: readonly string[];
  /** Words before an error of the template: Docker has two. */
  readonly complaint?: string;
}

export interface ListingOptions {
  /** "", "table", "table TEMPLATE", "json" or a template. */
  readonly format: string;
  /** Prints this field alone. */
  readonly quiet?: string | undefined;
}

/** Gives a listing its types. */
export function defineListing<T>(listing: Listing<T>): Listing<T> {
  return listing;
}

/** Writes the rows. @throws Failure "invalid" — a bad template */
export function showListing<T>(
  rows: readonly T[],
  listing: Listing<T>,
  options: ListingOptions,
): void {
  write(listingText(rows, listing, options));
}

/** The rows as text. */
export function listingText<T>(
  rows: readonly T[],
  listing: Listing<T>,
  { format, quiet }: ListingOptions,
): string {
  const isPlain = format === "" || format === "table";
  if (quiet !== undefined && isPlain) {
    return rows.map((row) => `${listing.fields[quiet]!.value(row)}\n`).join("");
  }
  if (isPlain) return plainTable(rows, listing);
  return formattedRows(rows, listing, format);
}

function plainTable<T>(rows: readonly T[], { fields, columns }: Listing<T>): string {
  const chosen = columns.map((name) => fields[name]!);
  const lines = [chosen.map((field) => field.heading).join("\t")];
  for (const row of rows) lines.push(chosen.map((field) => oneLine(field.value(row))).join("\t"));
  return `${alignColumns(lines.join("\n"))}\n`;
}

/** A tab or newline inside a value must not break the table. */
function oneLine(value: unknown): string {
  const text = String(value);
  return text.includes("\t") || text.includes("\n") ? text.replace(/[\t\n]/g, " ") : text;
}

function formattedRows<T>(rows: readonly T[], listing: Listing<T>, format: string): string {
  // Templates are loaded by those who use them.
  const { parseTemplate, Row, runTemplate } =
    require("../template/mod.ts") as typeof import("../template/mod.ts");
  const isTable = /^table(\s|\\t|$)/.test(format);
  const source = unescapeFormat(isTable ? format.slice("table".length) : format);
  const wanted = source === "json" ? "{{json .}}" : isTable ? source.trim() : source;
  const entries = Object.entries(listing.fields);
  const template = explain("failed to parse template", listing, () => parseTemplate(wanted));
  const line = (fields: Map<string, () => unknown>, isHeading: boolean): string =>
    explain("failed to execute template", listing, () =>
      runTemplate(template, new Row(listing.typeName, fields), { isHeading }),
    );
  const lines: string[] = [];
  if (isTable) {
    const headings = entries.map(
      ([name, field]) => [name, () => headingOf(field.heading)] as const,
    );
    lines.push(line(new Map(headings), true));
  }
  for (const row of rows) {
    const fields = entries.map(([name, field]) => [name, () => field.value(row)] as const);
    lines.push(line(new Map(fields), false));
  }
  if (lines.length === 0) return "";
  return isTable ? `${alignColumns(lines.join("\n"))}\n` : `${lines.join("\n")}\n`;
}

/** A heading answers to arguments too: `.Label "x"` is headed by the label. */
function headingOf(heading: string): unknown {
  if (heading !== "") return heading;
  return (name: unknown) => String(name).replace(/^.*\./, "");
}

/** `\t` and `\n` typed in a shell. */
function unescapeFormat(format: string): string {
  return format.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}

function explain<R>(what: string, { complaint = what }: Listing<never>, work: () => R): R {
  try {
    return work();
  } catch (cause) {
    throw new Failure("invalid", `${complaint}: ${(cause as Error).message}`, { cause });
  }
}
