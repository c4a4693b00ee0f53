/**
 * Makes bundles with bytecode of the command line in `.cache/cli`: a command starts in half the time that its
 * modules take one by one. There are two, because a bundle takes time by its size: `quick` has the commands
 * that people wait for, `whole` has all. Another one, in `.cache/daemon`, has the daemon. `bin/lading` lets
 * `choose` name the one and its sources, and runs it as long as none of them is newer.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { basename, relative, resolve } from "node:path";
import { type Bundle, bundleDaemon, removeOlder } from "./bundle-daemon.ts";

const root = new URL("..", import.meta.url).pathname;
const folder = `${root}.cache/cli`;

/** Names of commands, as they are called, by the file that has them. */
const quickCommands: Readonly<Record<string, readonly string[]>> = {
  "run.ts": ["run", "container run"],
  "exec.ts": ["exec", "container exec"],
  "container-ls.ts": ["ps", "container ls", "container ps"],
  "create.ts": ["create", "container create"],
  "start.ts": ["start", "container start"],
  "stop.ts": ["stop", "container stop"],
  "kill.ts": ["kill", "container kill"],
  "wait.ts": ["wait", "container wait"],
  "rm.ts": ["rm", "container rm"],
  "logs.ts": ["logs", "container logs"],
  "image-ls.ts": ["images", "image ls"],
};

/** How what is in the quick bundle is called. */
export const quickWords: readonly string[] = [
  ...Object.values(quickCommands).flat(),
  "--version",
  "-v",
];

/** What `main.ts` runs itself. */
const outside = ["daemon", "doctor", "registry", "manifest"];
const daemonWords = outside.flatMap((word) => [word, `help ${word}`]);

/** Bundles into a fresh folder; then each file takes its old one's place, so that none is ever absent. */
export async function bundleAll(): Promise<void> {
  const began = new Date();
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(folder, { recursive: true });
  const quick = await bundle(fresh, "quick", Object.keys(quickCommands));
  const whole = await bundle(fresh, "whole");
  const daemon = await bundleDaemon(`${root}.cache/daemon`);
  writeFileSync(
    `${fresh}/choose`,
    chooser(
      [
        [quickWords, quick],
        [daemonWords, daemon],
      ],
      whole,
    ),
  );
  for (const name of readdirSync(fresh)) {
    // What was changed while we read is newer than the bundle.
    utimesSync(`${fresh}/${name}`, began, began);
    renameSync(`${fresh}/${name}`, `${folder}/${name}`);
  }
  rmSync(fresh, { recursive: true });
  removeOlder(`${root}.cache/daemon`, daemon);
}

/** With `commands`, files of other commands are left out. */
async function bundle(outdir: string, name: string, commands?: string[]): Promise<Bundle> {
  const result = await Bun.build({
    entrypoints: [`${root}src/cli/bundle-entry.ts`],
    outdir,
    naming: `${name}.[ext]`,
    target: "bun",
    format: "cjs",
    bytecode: true,
    metafile: true,
    // Names stay: a stack trace of a user's must say something.
    minify: { whitespace: true, syntax: true, identifiers: false },
    plugins: commands ? [leaveOut((file) => !commands.includes(file))] : [],
  });
  if (!result.success) throw new AggregateError(result.logs, "Cannot bundle the command line");
  // Bun collects garbage, for 2 ms, when its first module has been run: not as long as that one awaits.
  writeFileSync(`${outdir}/${name}.mjs`, `await require("./${name}.js").done;\n`);
  // They are told from the folder that we are called in.
  const inputs = Object.keys(result.metafile!.inputs).map((path) => resolve(path));
  return { path: `${folder}/${name}.mjs`, inputs };
}

/** Leaves files of commands out, which `choose` makes sure that nobody asks for. */
function leaveOut(isLeftOut: (file: string) => boolean): Bun.BunPlugin {
  return {
    name: "leave out",
    setup(build) {
      build.onResolve({ filter: /^\.\// }, ({ path, importer, kind }) =>
        kind === "require-call" &&
        importer.endsWith("/cli/commands.ts") &&
        isLeftOut(basename(path))
          ? { path, external: true }
          : undefined,
      );
    },
  };
}

/** The part of `bin/lading` that sets `file` and `sources` for the command `word`. */
function chooser(of: [words: readonly string[], Bundle][], rest: Bundle): string {
  const inRoot = (path: string) => relative(root, path);
  const set = ({ path, inputs }: Bundle) =>
    `file=${inRoot(path)} sources="${inputs.map(inRoot).join(" ")}" ;;`;
  const cases = of.map(([words, bundle]) => `"${words.join('" | "')}") ${set(bundle)}`);
  return `case $word in\n${[...cases, `*) ${set(rest)}`].join("\n")}\nesac\n`;
}

if (import.meta.main) await bundleAll();
