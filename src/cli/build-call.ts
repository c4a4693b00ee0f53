/** `--call` and `--check`: what the engine says of a Dockerfile, for people or for programs. */
import type { BuildAnswer } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { alignColumns } from "./columns.ts";
import { print } from "./output.ts";

const methods = ["build", "check", "outline", "targets"] as const;

export interface Call {
  readonly method: (typeof methods)[number];
  readonly format: "text" | "json";
  /** End with 0 whatever was found. */
  readonly ignoresStatus: boolean;
}

/** `check,format=json`; `lint` is `check`. @throws Failure "invalid" */
export function parseCall(text: string): Call {
  const [name = "", ...options] = text.split(",");
  const method = methods.find((each) => each === (name === "lint" ? "check" : name || "build"));
  if (!method) {
    throw new Failure("invalid", `unsupported call: ${name}`, {
      hint: `It is one of ${methods.join(", ")}`,
    });
  }
  let call: Call = { method, format: "text", ignoresStatus: false };
  for (const option of options) {
    const [key, value = "true"] = option.split("=", 2);
    if (key === "format" && (value === "json" || value === "text"))
      call = { ...call, format: value };
    else if (key === "ignorestatus") call = { ...call, ignoresStatus: value === "true" };
    else throw new Failure("invalid", `invalid call option: ${option}`);
  }
  return call;
}

/** Prints an answer and gives the exit code. */
export function showAnswer({ method, format, ignoresStatus }: Call, answer: BuildAnswer): number {
  if (format === "json") print(JSON.stringify(answer, null, 2));
  else if (method === "check") print(checkText(answer));
  else if (method === "targets") print(targetsText(answer));
  else print(outlineText(answer));
  const isBad = (answer.warnings ?? []).length > 0 || answer.buildError !== undefined;
  return isBad && !ignoresStatus ? 1 : 0;
}

function checkText({ buildError, ...answer }: BuildAnswer): string {
  const failed = buildError ? [`ERROR: ${buildError.message}`] : [];
  return [
    ...(failed.length > 0 && !answer.warnings?.length ? [] : [warningsText(answer)]),
    ...failed,
  ].join("\n\n");
}

function warningsText({ warnings = [], sources }: BuildAnswer): string {
  if (warnings.length === 0) return "Check complete, no warnings found.";
  const one = warnings.length === 1;
  const head = `Check complete, ${warnings.length} warning${one ? " has" : "s have"} been found!`;
  const [source] = sources;
  const lines = Buffer.from(source?.data ?? "", "base64")
    .toString("utf8")
    .split("\n");
  const parts = warnings.map(({ ruleName, url, detail, location }) => {
    const range = location.ranges?.[0];
    const place = range ? excerpt(lines, source?.fileName ?? "", range) : "";
    return `WARNING: ${ruleName} - ${url}\n${detail}\n${place}`;
  });
  return [head, "", parts.join("\n\n")].join("\n");
}

interface Lines {
  readonly start: { readonly line: number };
  readonly end: { readonly line: number };
}

/** The lines with those around them: two lines more, four when there is but one. */
function excerpt(lines: readonly string[], name: string, range: Lines): string {
  const [start, end] = [range.start.line, Math.min(range.end.line, lines.length)];
  let [first, last] = [start, end];
  for (let added = 0; added < (start === end ? 4 : 2); added++) {
    if (first > 1) {
      first--;
      added++;
    }
    if (last < lines.length) {
      last++;
      added++;
    }
  }
  const rule = "-".repeat(20);
  const shown = lines.slice(first - 1, last).map((line, index) => {
    const number = first + index;
    const mark = number >= start && number <= end ? ">>>" : "   ";
    return ` ${String(number).padStart(3)} | ${mark} ${line}`;
  });
  return [`${name}:${start}`, rule, ...shown, rule].join("\n");
}

const columns = { widthMin: 0, padding: 3 };

function table(rows: readonly (readonly string[])[]): string {
  return alignColumns(rows.map((row) => row.join("\t")).join("\n"), columns)
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

function targetsText({ targets = [] }: BuildAnswer): string {
  const rows = targets.map(({ name = "", default: isDefault, description = "" }) => {
    const shown = name === "" ? (isDefault ? "(default)" : "") : name;
    return [isDefault && name !== "" ? `${name} (default)` : shown, description];
  });
  return table([["TARGET", "DESCRIPTION"], ...rows]);
}

function outlineText({
  name,
  description,
  args = [],
  secrets = [],
  ssh = [],
}: BuildAnswer): string {
  const head = [
    ["TARGET:", name ?? "(default)"],
    ...(description ? [["DESCRIPTION:", description]] : []),
  ];
  const required = (isRequired: boolean | undefined) => (isRequired ? "true" : "");
  const needs = (title: string, all: NonNullable<BuildAnswer["secrets"]>) =>
    all.length === 0
      ? []
      : [table([[title, "REQUIRED"], ...all.map((each) => [each.name, required(each.required)])])];
  const argumentRows = args.map(({ name, value = "", description = "" }) => [
    name,
    value,
    description,
  ]);
  return [
    table(head),
    ...(args.length > 0 ? [table([["BUILD ARG", "VALUE", "DESCRIPTION"], ...argumentRows])] : []),
    ...needs("SECRET", secrets),
    ...needs("SSH", ssh),
  ].join("\n\n");
}
