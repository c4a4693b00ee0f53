/**
 * Makes bundles with bytecode of the command line in `.cache/cli`: a command starts in half the time that its
 * modules take one by one. There are several, because a bundle takes time by its size: three have the commands
 * that people wait for, `whole` has all. Another one, in `.cache/daemon`, has the daemon. `bin/lading` lets
 * `choose` name the one and its sources, and runs it as long as none of them is newer.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { basename, relative, resolve } from "node:path";
import { type Bundle, bundleDaemon, removeOlder } from "./bundle-daemon.ts";

const root = new URL("..", import.meta.url).pathname;
const folder = `${root}.cache/cli`;

/** The bundles of commands that people wait for: names of commands, as they are called, by their files. */
const quick: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  exec: { "exec.ts": ["exec", "container exec"] },
  run: {
    "run.ts": ["run", "container run"],
    "create.ts": ["create", "container create"],
  },
  quick: {
    "container-ls.ts": ["ps", "container ls", "container ps"],
    "start.ts": ["start", "container start"],
    "stop.ts": ["stop", "container stop"],
    "kill.ts": ["kill", "container kill"],
    "wait.ts": ["wait", "container wait"],
    "rm.ts": ["rm", "container rm"],
    "logs.ts": ["logs", "container logs"],
    "image-ls.ts": ["images", "image ls"],
    "": ["--version", "-v"],
  },
};

/** How what is in the quick bundles is called. */
export const quickWords: readonly string[] = Object.values(quick).flatMap((files) =>
  Object.values(files).flat(),
);

/** What `main.ts` runs itself. */
const outside = ["daemon", "doctor", "registry", "manifest"];
const daemonWords = outside.flatMap((word) => [word, `help ${word}`]);

/** Bundles into a fresh folder; then each file takes its old one's place, so that none is ever absent. */
export async function bundleAll(): Promise<void> {
  const began = new Date();
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(folder, { recursive: true });
  const made: [words: readonly string[], Bundle][] = [];
  for (const [name, files] of Object.entries(quick)) {
    made.push([Object.values(files).flat(), await bundle(fresh, name, Object.keys(files))]);
  }
  const whole = await bundle(fresh, "whole");
  const daemon = await bundleDaemon(`${root}.cache/daemon`);
  writeFileSync(`${fresh}/choose`, chooser([...made, [daemonWords, daemon]], whole));
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
    minify: true,
    plugins: commands ? [leaveOut((file) => !commands.includes(file))] : [],
  });
  if (!result.success) throw new AggregateError(result.logs, "Cannot bundle the command line");
  writeFileSync(`${outdir}/${name}.mjs`, starter(name));
  // They are told from the folder that we are called in.
  const inputs = Object.keys(result.metafile!.inputs).map((path) => resolve(path));
  return { path: `${folder}/${name}.mjs`, inputs };
}

/**
 * What runs a bundle. A short command ends before compiled code pays, so that its threads leave the machine to
 * the engine; a longer one has it soon. Bun collects garbage, for 2 ms, when its first module has been run:
 * not as long as that one awaits.
 */
function starter(name: string): string {
  return `Bun.unsafe.setJITPolicy(16);
setTimeout(() => Bun.unsafe.setJITPolicy(1), 100).unref();
await require("./${name}.js").done;
`;
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
