/** The texts of `--help`, made from the tables. */
import type { Command } from "./command.ts";
import { type Entry, entries, groups, outside } from "./commands.ts";
import type { Flag, FlagTable } from "./flags.ts";
import { globalFlags } from "./globals.ts";

const often = ["run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search"];
often.push("version", "info");
const widthMax = 80;

/** `lading --help`. */
export function programHelp(): string {
  const short = entries.flatMap((entry) => {
    const name = entry.names.find((each) => !each.includes(" "));
    return name ? [[name, entry.about] as const] : [];
  });
  const others = [...short.filter(([name]) => !often.includes(name)), ...Object.entries(outside)];
  return [
    "Usage:  lading [OPTIONS] COMMAND",
    "A container platform: builds images, runs containers, shares them",
    section(
      "Common Commands",
      often.map((name) => short.find(([each]) => each === name)!),
    ),
    section("Management Commands", Object.entries(groups)),
    section(
      "Commands",
      others.sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
    `Global Options:\n${flagsText(globalFlags)}`,
    "Run 'lading COMMAND --help' for more information on a command.",
  ].join("\n\n");
}

/** `lading container --help`. */
export function groupHelp(group: string): string {
  const rows = entries
    .map(({ names, about }) => [names.find((name) => name.startsWith(`${group} `)), about] as const)
    .filter(([name]) => name !== undefined)
    .map(([name, about]) => [name!.slice(group.length + 1), about] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    `Usage:  lading ${group} COMMAND`,
    groups[group]!,
    section("Commands", rows),
    `Run 'lading ${group} COMMAND --help' for more information on a command.`,
  ].join("\n\n");
}

/** `lading ps --help`. */
export function commandHelp(entry: Entry, name: string, command: Command): string {
  const parts = [usageLine(name, command), entry.about];
  const aliases = entry.names.map((each) => `lading ${each}`).join(", ");
  if (entry.names.length > 1) parts.push(`Aliases:\n  ${aliases}`);
  const flags = flagsText(command.flags);
  if (flags !== "") parts.push(`Options:\n${flags}`);
  return parts.join("\n\n");
}

export function usageLine(name: string, command: Command): string {
  return `Usage:  lading ${name} ${command.usage}`.trimEnd();
}

function section(title: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(11, ...rows.map(([name]) => name.length + 1));
  return [`${title}:`, ...rows.map(([name, about]) => `  ${name.padEnd(width)} ${about}`)].join(
    "\n",
  );
}

const kindWords: Record<Flag["kind"], string> = {
  bool: "",
  string: "string",
  list: "list",
  int: "int",
  decimal: "decimal",
  bytes: "bytes",
  endless: "bytes",
  duration: "duration",
};

function flagsText(flags: FlagTable): string {
  const shown = Object.entries(flags)
    .filter(([, flag]) => !flag.hidden)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]) => {
      const word = flag.word ?? kindWords[flag.kind];
      const left = `${flag.short ? `-${flag.short}, ` : "    "}--${name}${word ? ` ${word}` : ""}`;
      return [left, flag.about + defaultText(flag)] as const;
    });
  const width = Math.max(0, ...shown.map(([left]) => left.length)) + 3;
  return shown
    .map(([left, about]) => `  ${left.padEnd(width)}${wrap(about, width + 2)}`)
    .join("\n");
}

function defaultText(flag: Flag): string {
  if (flag.default === undefined || flag.default === "" || flag.default === false) return "";
  const value = typeof flag.default === "string" ? JSON.stringify(flag.default) : flag.default;
  return ` (default ${value})`;
}

function wrap(text: string, indent: number): string {
  const room = Math.max(24, widthMax - indent);
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > room) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
}
