/** `lading manifest`: joins images of several platforms under one name, as Docker's client does. */
import { Failure, toFailure } from "./base/mod.ts";
import { type FlagTable, parseFlags } from "./cli/flags.ts";
import { annotate, create, inspect, push, remove } from "./manifest-lists.ts";

const insecure = { kind: "bool", about: "Reach the registry without TLS" } as const;

const commands = {
  annotate: {
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    about: "Say for which platform an image of a list is",
    words: [2, 2],
    flags: {
      arch: { kind: "string", about: "Architecture" },
      os: { kind: "string", about: "Operating system" },
      "os-features": { kind: "list", about: "Features of the operating system" },
      "os-version": { kind: "string", about: "Version of the operating system" },
      variant: { kind: "string", about: "Variant of the architecture" },
    },
    run: annotate,
  },
  create: {
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
    about: "Begin a list of images that are in a registry",
    words: [2, 1_000],
    flags: {
      amend: { kind: "bool", short: "a", about: "Add to a list that is there already" },
      insecure,
    },
    run: create,
  },
  inspect: {
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Show a list, or a manifest or index of a registry",
    words: [1, 2],
    flags: {
      insecure,
      verbose: { kind: "bool", short: "v", about: "With platforms, and what a list names" },
    },
    run: inspect,
  },
  push: {
    usage: "[OPTIONS] MANIFEST_LIST",
    about: "Bring a list, and the images that it names, into its repository",
    words: [1, 1],
    flags: {
      insecure,
      purge: { kind: "bool", short: "p", about: "Remove the list here after it" },
    },
    run: push,
  },
  rm: {
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    about: "Remove lists here",
    words: [1, 1_000],
    flags: {},
    run: remove,
  },
} as const satisfies Record<
  string,
  { readonly flags: FlagTable; readonly [more: string]: unknown }
>;

type Name = keyof typeof commands;

/** Runs `lading manifest …` and returns the exit code. */
export async function runManifest(argv: readonly string[]): Promise<number> {
  const [word = "--help", ...rest] = argv;
  if (word === "--help" || word === "-h") {
    process.stdout.write(groupHelp());
    return 0;
  }
  const name = (Object.keys(commands) as Name[]).find((each) => each === word);
  if (!name) {
    process.stderr.write(`lading: '${word}' is not a command of lading manifest\n\n${groupHelp()}`);
    return 1;
  }
  try {
    if (rest.includes("--help") || rest.includes("-h")) process.stdout.write(helpOf(name));
    else process.stdout.write(await call(name, rest));
    return 0;
  } catch (error) {
    const { message, hint } = toFailure(error);
    process.stderr.write(`lading: ${message}${hint ? `\n${hint}` : ""}\n`);
    return 1;
  }
}

async function call(name: Name, argv: readonly string[]): Promise<string> {
  const command = commands[name];
  const { flags, args } = parseFlags(argv, command.flags as FlagTable);
  const [min, max] = command.words;
  if (args.length < min || args.length > max) {
    throw new Failure("invalid", `"manifest ${name}" takes ${command.usage}`, {
      hint: `See "lading manifest ${name} --help"`,
    });
  }
  const abort = new AbortController();
  process.once("SIGINT", () => abort.abort());
  return await command.run({ flags, args, signal: abort.signal } as never);
}

function groupHelp(): string {
  const rows = Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(10)}${about}`);
  return [
    "Usage:  lading manifest COMMAND\n",
    "Join images of several platforms under one name\n",
    "Commands:",
    ...rows,
    "\nRun 'lading manifest COMMAND --help' for more information on a command.\n",
  ].join("\n");
}

function helpOf(name: Name): string {
  const { usage, about, flags } = commands[name];
  const rows = Object.entries(flags as FlagTable).map(([flag, { short, kind, about: what }]) => {
    const value = kind === "bool" ? "" : ` ${kind}`;
    return `  ${short ? `-${short}, ` : "    "}--${flag}${value}`.padEnd(28) + what;
  });
  const options = rows.length > 0 ? `\nOptions:\n${rows.join("\n")}\n` : "";
  return `Usage:  lading manifest ${name} ${usage}\n\n${about}\n${options}`;
}
