import { parseDuration } from "./durations.ts";
import { type FlagContext, type FlagKinds, readFlags } from "./flags.ts";
import type { Action, HealthFlags, Instruction, Pair } from "./instruction.ts";
import {
  type Document,
  type Heredoc,
  heredocWord,
  type LogicalLine,
  rangeOf,
  readLines,
  splitQuoted,
} from "./lines.ts";
import { readRun } from "./parse-run.ts";
import { type Context, readCommand, readJson } from "./parse-words.ts";
import { atOnce, type Slices } from "./slices.ts";
import { nearest, parseFailure } from "./source.ts";

/** A Dockerfile as instructions, in order. */
export interface Dockerfile extends Omit<Document, "lines"> {
  readonly instructions: readonly Instruction[];
}

/** Parses a Dockerfile. @throws Failure "invalid" with line, column, the line's text and a hint */
export function parseDockerfile(text: string, name = "Dockerfile"): Dockerfile {
  return atOnce(parsing(text, name));
}

/** As `parseDockerfile`, for a text of any size. */
export function* parsing(text: string, name: string): Slices<Dockerfile> {
  const { lines, ...document } = yield* readLines(text, name);
  const instructions: Instruction[] = [];
  for (const line of lines) {
    instructions.push(parseLine(line, document));
    yield;
  }
  return { ...document, instructions };
}

type Rule = { readonly flags: FlagKinds; readonly read: (context: Context) => Action };

const copyFlags: FlagKinds = {
  chown: "text",
  chmod: "text",
  link: "boolean",
  exclude: "list",
};

const rules: Readonly<Record<string, Rule>> = {
  ADD: {
    flags: { ...copyFlags, checksum: "text", "keep-git-dir": "boolean", unpack: "boolean" },
    read: readCopy,
  },
  ARG: { flags: {}, read: readArg },
  CMD: { flags: {}, read: (context) => ({ kind: "cmd", command: readCommand(context) }) },
  COPY: { flags: { ...copyFlags, from: "text", parents: "boolean" }, read: readCopy },
  ENTRYPOINT: {
    flags: {},
    read: (context) => ({ kind: "entrypoint", command: readCommand(context) }),
  },
  ENV: { flags: {}, read: (context) => ({ kind: "env", pairs: readKeyValues(context) }) },
  EXPOSE: { flags: {}, read: (context) => ({ kind: "expose", words: readWords(context) }) },
  FROM: { flags: { platform: "text" }, read: readFrom },
  HEALTHCHECK: {
    flags: {
      interval: "text",
      timeout: "text",
      "start-period": "text",
      "start-interval": "text",
      retries: "text",
    },
    read: readHealthcheck,
  },
  LABEL: { flags: {}, read: (context) => ({ kind: "label", pairs: readKeyValues(context) }) },
  MAINTAINER: {
    flags: {},
    read: (context) => ({ kind: "maintainer", name: readOne(context) }),
  },
  ONBUILD: { flags: {}, read: readOnbuild },
  RUN: {
    flags: { mount: "list", network: "text", security: "text", device: "list" },
    read: readRun,
  },
  SHELL: { flags: {}, read: readShell },
  STOPSIGNAL: { flags: {}, read: (context) => ({ kind: "stopsignal", word: readOne(context) }) },
  USER: { flags: {}, read: (context) => ({ kind: "user", word: readOne(context) }) },
  VOLUME: { flags: {}, read: (context) => ({ kind: "volume", words: readList(context) }) },
  WORKDIR: { flags: {}, read: (context) => ({ kind: "workdir", path: readOne(context) }) },
};

function parseLine(line: LogicalLine, document: Omit<Document, "lines">): Instruction {
  const written = /^\S+/.exec(line.text)![0];
  const keyword = written.toUpperCase();
  const { source, directives } = document;
  const rule = Object.hasOwn(rules, keyword) ? rules[keyword] : undefined;
  if (!rule) {
    const near = nearest(written, Object.keys(rules));
    const hint = near ? `Did you mean ${near}?` : `Known are ${Object.keys(rules).join(", ")}`;
    const range = rangeOf(line, 0, written.length);
    throw parseFailure(source, range, `unknown instruction: ${written}`, hint);
  }
  const base: FlagContext = { source, line, escape: directives.escape, keyword };
  const { flags, offset: end } = readFlags(base, rule.flags, written.length);
  const offset = end + (/^\s*/.exec(line.text.slice(end))?.[0].length ?? 0);
  const rest = line.text.slice(offset);
  const context: Context = {
    ...base,
    flags,
    rest,
    offset,
    fail: (problem, hint, word) => {
      const at = word === undefined ? -1 : line.text.indexOf(word, written.length);
      const range = at < 0 ? rangeOf(line, 0, line.text.length) : rangeOf(line, at, word!.length);
      return parseFailure(source, range, problem, hint);
    },
  };
  if (rest === "" && keyword !== "FROM") {
    throw context.fail(`${keyword} requires ${argumentsNeeded(keyword)}`);
  }
  const { text, range, comments } = line;
  return { ...rule.read(context), text, range, comments };
}

function argumentsNeeded(keyword: string): string {
  if (keyword === "COPY" || keyword === "ADD") return "at least two arguments";
  const exactly = ["MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"];
  return exactly.includes(keyword) ? "exactly one argument" : "at least one argument";
}

const readWords = ({ rest }: Context): string[] => rest.split(/\s+/).filter((word) => word !== "");
const readOne = ({ rest }: Context): string => rest.trim();

function readList(context: Context): string[] {
  const words = readJson(context.rest) ?? readWords(context);
  if (words.some((word) => word.trim() === "")) {
    throw context.fail(`${context.keyword} specified can not be an empty string`);
  }
  return words;
}

function readFrom(context: Context): Action {
  const words = readWords(context);
  const [image = "", as, name = ""] = words;
  if (words.length !== 1 && !(words.length === 3 && as!.toUpperCase() === "AS")) {
    throw context.fail("FROM requires either one or three arguments", "FROM image [AS name]");
  }
  if (words.length === 3 && !/^[a-z][a-z0-9\-_.]*$/.test(name.toLowerCase())) {
    const problem = `invalid name for build stage: "${name}", name can't start with a number or contain symbols`;
    throw context.fail(problem, undefined, name);
  }
  const platform = context.flags.text["platform"] ?? "";
  return { kind: "from", image, name: name.toLowerCase(), platform };
}

function readCopy(context: Context): Action {
  const { keyword, line } = context;
  const words = readJson(context.rest) ?? readWords(context);
  if (words.length < 2) {
    const problem = `${keyword} requires at least two arguments, but only one was provided. Destination could not be determined`;
    throw context.fail(problem);
  }
  const target = words.at(-1)!;
  const given = words.slice(0, -1);
  const documents: Heredoc[] = [];
  const sources = given.filter((word) => {
    const document = heredocWord(word);
    const found = document && line.heredocs[documents.length];
    if (found) documents.push(found);
    return !found;
  });
  if (sources.length + documents.length > 1 && !/[/$}]$|^\.{1,2}$/.test(target)) {
    const problem = `When using ${keyword} with more than one source file, the destination must be a directory and end with a /`;
    throw context.fail(problem, undefined, target);
  }
  const { text, booleans, lists } = context.flags;
  return {
    kind: "copy",
    isAdd: keyword === "ADD",
    sources,
    documents,
    target,
    from: text["from"] ?? "",
    chown: text["chown"] ?? "",
    chmod: text["chmod"] ?? "",
    checksum: text["checksum"] ?? "",
    link: booleans["link"] ?? false,
    parents: booleans["parents"] ?? false,
    excludes: lists["exclude"] ?? [],
    ...(booleans["unpack"] === undefined ? {} : { unpack: booleans["unpack"] }),
    ...(booleans["keep-git-dir"] === undefined ? {} : { keepGitDir: booleans["keep-git-dir"] }),
  };
}

function readKeyValues(context: Context): Pair[] {
  const { rest, keyword } = context;
  const words = splitQuoted(rest, context.escape).map(({ word }) => word);
  if (!words[0]!.includes("=")) {
    const [, name, value] = /^(\S+)\s+(.+)$/s.exec(rest.trim()) ?? [];
    if (name === undefined) throw context.fail(`${keyword} must have two arguments`);
    return [{ name, value: value! }];
  }
  return words.map((word) => {
    const equals = word.indexOf("=");
    if (equals < 0) {
      const problem = `Syntax error - can't find = in "${word}". Must be of the form: name=value`;
      throw context.fail(problem, "Put quotes around a value with spaces", word);
    }
    if (equals === 0) throw context.fail(`${keyword} names can not be blank`, undefined, word);
    return { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
}

function readArg(context: Context): Action {
  const words = splitQuoted(context.rest, context.escape).map(({ word }) => word);
  const args = words.map((word) => {
    const equals = word.indexOf("=");
    if (equals === 0) throw context.fail("ARG names can not be blank", undefined, word);
    if (equals < 0) return { name: word };
    return { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { kind: "arg", args };
}

function readShell(context: Context): Action {
  const args = readJson(context.rest);
  if (!args) {
    throw context.fail(
      `SHELL requires the arguments to be in JSON form`,
      `SHELL ["/bin/sh", "-c"]`,
    );
  }
  if (args.length === 0) throw context.fail("SHELL requires at least one argument");
  return { kind: "shell", args };
}

function readOnbuild(context: Context): Action {
  const first = /^\S+/.exec(context.rest)![0].toUpperCase();
  if (first === "ONBUILD")
    throw context.fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (first === "FROM" || first === "MAINTAINER") {
    throw context.fail(`${first} isn't allowed as an ONBUILD trigger`, undefined, context.rest);
  }
  const documents = context.line.heredocs.map(({ content, name }) => `\n${content}${name}`);
  const trigger = context.rest + documents.join("");
  parseDockerfile(trigger, "ONBUILD"); // a bad trigger is told here, not in every child
  return { kind: "onbuild", trigger };
}

function readHealthcheck(context: Context): Action {
  const [, type = "", rest = ""] = /^(\S+)\s*(.*)$/s.exec(context.rest)!;
  const word = type.toUpperCase();
  if (word === "NONE") {
    if (rest !== "") throw context.fail("HEALTHCHECK NONE takes no arguments");
    return { kind: "healthcheck", flags: {} };
  }
  if (word !== "CMD") {
    const problem = `Unknown type "${type}" in HEALTHCHECK (try CMD)`;
    throw context.fail(problem, "HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE", type);
  }
  if (rest === "") throw context.fail("Missing command after HEALTHCHECK CMD");
  const command = readCommand({ rest, line: context.line });
  return { kind: "healthcheck", command, flags: readHealthFlags(context) };
}

function readHealthFlags(context: Context): HealthFlags {
  const { text } = context.flags;
  const fields = {
    interval: "Interval",
    timeout: "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
  } as const;
  const flags: Record<string, number> = {};
  for (const [flag, field] of Object.entries(fields)) {
    const value = text[flag];
    if (value === undefined) continue;
    const duration = parseDuration(value);
    if (duration === undefined) {
      throw context.fail(`invalid duration "${value}" for --${flag}`, "Write 30s or 1m30s", value);
    }
    if (duration < 0 || (duration > 0 && duration < 1e6)) {
      throw context.fail(`Interval "${flag}" cannot be less than 1ms`, undefined, value);
    }
    if (duration > 0) flags[field] = duration;
  }
  const retries = text["retries"];
  if (retries !== undefined) {
    if (!/^\d{1,9}$/.test(retries)) {
      throw context.fail(`--retries must be a whole number, not "${retries}"`, undefined, retries);
    }
    if (Number(retries) > 0) flags["Retries"] = Number(retries);
  }
  return flags;
}
