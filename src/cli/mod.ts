/**
 * The command line, in Docker's grammar: finds the command, reads its flags, runs it, tells of its
 * failure. It knows the engine through its API alone.
 */
import { closest, Failure, toFailure } from "../base/mod.ts";
import type { Command } from "./command.ts";
import { type Entry, entries, findEntry, groups, outside } from "./commands.ts";
import { complaintText } from "./complaint.ts";
import { configured } from "./configured.ts";
import { endpointOf } from "./engine.ts";
import { parseFlags } from "./flags.ts";
import { type Globals, globalFlags } from "./globals.ts";
import { complain, flushOutput, print } from "./output.ts";

/** What went wrong with the words of the command line; has its own exit code. */
class Misuse extends Error {
  readonly code: number;
  constructor(text: string, code: number) {
    super(text);
    this.code = code;
  }
}

/** Runs one command line and returns the exit code; everything it had to say has been written. */
export async function runCli(argv: readonly string[]): Promise<number> {
  const code = await dispatch(argv).catch((error: unknown) => {
    if (error instanceof Misuse) {
      complain(error.message);
      return error.code;
    }
    complain(complaintText(error));
    return 1;
  });
  await flushOutput();
  return code;
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const { flags: globals, args } = readGlobals(argv);
  if (globals.version) {
    print(`Lading version ${versionText()}`);
    return 0;
  }
  if (args.length === 0 || globals.help) return showHelp(args);
  if (args[0] === "help") return showHelp(args.slice(1));
  const [first, second] = args as [string, ...string[]];
  if (first === "build" && second === "history" && args.length > 2) {
    return runNamed("builder history", args.slice(2), globals);
  }
  if (!Object.hasOwn(groups, first)) return runNamed(first, args.slice(1), globals);
  if (second === undefined || second === "--help" || second === "-h") return showHelp([first]);
  if (second.startsWith("-")) throw flagMisuse(`unknown flag: ${second}`, first, "COMMAND");
  return runNamed(`${first} ${second}`, args.slice(2), globals);
}

/** The version in package.json, read without loading a module for it. */
export function versionText(): string {
  return (require("../../package.json") as { version: string }).version;
}

function readGlobals(argv: readonly string[]) {
  try {
    return parseFlags(argv, globalFlags, { interspersed: false });
  } catch (error) {
    const text = withHint(toFailure(error));
    throw new Misuse(
      `${text}\n\nUsage:  lading [OPTIONS] COMMAND [ARG...]\n\nRun 'lading --help' for more information`,
      125,
    );
  }
}

function withHint(failure: Failure): string {
  return failure.hint ? `${failure.message}\n${failure.hint}` : failure.message;
}

function flagMisuse(text: string, name: string, usage: string): Misuse {
  return new Misuse(
    `${text}\n\nUsage:  lading ${name} ${usage}\n\nRun 'lading ${name} --help' for more information`,
    125,
  );
}

async function runNamed(name: string, words: readonly string[], globals: Globals): Promise<number> {
  const entry = findEntry(name);
  if (!entry) throw unknownCommand(name);
  const { command } = entry.load();
  const call = readCall(entry, name, { command, words });
  if (call === "help") return showHelp(name.split(" "));
  checkCount(name, command, call.args.length);
  try {
    const host = () => endpointOf(globals).host;
    const flags = configured(name, call.flags, { globals, host });
    return await command.run({ ...call, flags, globals, name });
  } catch (error) {
    if (command.failureCode === undefined) throw error;
    throw new Misuse(
      `lading: ${complaintText(error)}\n\nRun 'lading ${name} --help' for more information`,
      command.failureCode,
    );
  }
}

function readCall(
  _entry: Entry,
  name: string,
  { command, words }: { command: Command; words: readonly string[] },
) {
  const help = { kind: "bool", about: "", hidden: true } as const;
  const takesH = Object.values(command.flags).some(({ short }) => short === "h");
  const table = { ...command.flags, help: takesH ? help : { ...help, short: "h" } };
  try {
    const call = parseFlags(words, table, { interspersed: command.interspersed ?? true });
    return call.flags.help ? "help" : call;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw flagMisuse(withHint(error), name, command.usage);
  }
}

function checkCount(name: string, command: Command, count: number): void {
  const { min, max } = command.arguments;
  if (count >= min && (max === undefined || count <= max)) return;
  const words = (number: number) => `${number} argument${number === 1 ? "" : "s"}`;
  const why =
    max === 0
      ? "accepts no arguments"
      : max === min
        ? `requires ${words(min)}`
        : count < min
          ? `requires at least ${words(min)}`
          : `requires at most ${words(max!)}`;
  throw new Misuse(
    `lading: 'lading ${name}' ${why}\n\nUsage:  lading ${name} ${command.usage}\n\n` +
      `Run 'lading ${name} --help' for more information`,
    1,
  );
}

function unknownCommand(name: string): Misuse {
  const group = name.includes(" ") ? name.split(" ")[0]! : undefined;
  const prefix = group ? `${group} ` : "";
  const known = [
    ...entries.flatMap(({ names }) => names),
    ...(group ? [] : [...Object.keys(groups), ...Object.keys(outside)]),
  ].filter((each) => each.startsWith(prefix) && each.includes(" ") === Boolean(group));
  const words = known.map((each) => each.slice(prefix.length));
  const best = closest(name.slice(prefix.length), words);
  const guess = best === undefined ? "" : `\n\nDid you mean 'lading ${prefix}${best}'?`;
  const usage = group ? `\n\nUsage:  lading ${group} COMMAND` : "";
  return new Misuse(
    `lading: '${name}' is not a lading command: unknown command: lading ${name}${guess}${usage}\n\n` +
      `Run 'lading ${prefix}--help' for more information`,
    1,
  );
}

function showHelp(words: readonly string[]): number {
  const { programHelp, groupHelp, commandHelp } =
    require("./help.ts") as typeof import("./help.ts");
  if (words.length === 0) {
    print(programHelp());
    return 0;
  }
  const [first] = words as [string];
  const isGroup = Object.hasOwn(groups, first);
  if (isGroup && words.length === 1) {
    print(groupHelp(first));
    return 0;
  }
  const name = isGroup ? words.slice(0, 2).join(" ") : first;
  const entry = findEntry(name);
  if (!entry) throw new Misuse(`unknown help topic: ${words.join(" ")}`, 1);
  print(commandHelp(entry, name, entry.load().command));
  return 0;
}
