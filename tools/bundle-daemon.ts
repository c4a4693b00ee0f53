/**
 * Makes one file with bytecode of the daemon (and of `doctor`, `registry`, `manifest`), and one of each of its
 * threads. It starts with less than half the work, and a daemon that runs does not notice that its sources change.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { basename, dirname, relative, resolve } from "node:path";

const source = new URL("../src", import.meta.url).pathname;

/** A file of a bundle, and the files that it was made of. */
export interface Bundle {
  readonly path: string;
  readonly inputs: readonly string[];
}

/** Bundles into a folder of its own below `folder`: daemons that run start threads from the one they know. */
export async function bundleDaemon(folder: string): Promise<Bundle> {
  const began = new Date();
  const outdir = `${folder}/${began.getTime()}-${process.pid}`;
  mkdirSync(outdir, { recursive: true });
  const inputs = new Set<string>();
  const left = [`${source}/main.ts`];
  for (const entry of left) {
    const { threads, inputs: made } = await bundleOne(entry, outdir);
    for (const input of made) inputs.add(input);
    for (const thread of threads) if (!left.includes(thread)) left.push(thread);
  }
  for (const file of readdirSync(outdir)) utimesSync(`${outdir}/${file}`, began, began);
  return { path: `${outdir}/main.js`, inputs: [...inputs] };
}

/** Returns the sources of the threads that it starts, too. */
async function bundleOne(entry: string, outdir: string) {
  const threads: string[] = [];
  const result = await Bun.build({
    entrypoints: [entry],
    outdir,
    naming: `${outputOf(entry)}.[ext]`,
    target: "bun",
    format: "cjs",
    bytecode: true,
    metafile: true,
    minify: { whitespace: true, syntax: true, identifiers: false },
    plugins: [nameThreads(threads), leaveOutCli],
  });
  if (!result.success) throw new AggregateError(result.logs, `Cannot bundle ${entry}`);
  return { threads, inputs: Object.keys(result.metafile!.inputs).map((path) => resolve(path)) };
}

/** `runtime-pump-worker` for src/runtime/pump-worker.ts: all are in one folder. */
function outputOf(path: string): string {
  return relative(source, path).replaceAll("/", "-").replace(/\.ts$/, "");
}

/** A thread's file is beside that of whoever starts it, under another name than its source. */
function nameThreads(threads: string[]): Bun.BunPlugin {
  const start = /new Worker\(new URL\("(\.\/[\w-]+\.ts)", import\.meta\.url\)/g;
  return {
    name: "name threads",
    setup(build) {
      build.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
        const contents = readFileSync(path, "utf8").replaceAll(start, (_, file: string) => {
          const thread = resolve(path, "..", file);
          threads.push(thread);
          return `new Worker(new URL("./${outputOf(thread)}.js", Bun.pathToFileURL(Bun.main))`;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}

/** The command line has its own bundles. */
const leaveOutCli: Bun.BunPlugin = {
  name: "leave out the command line",
  setup(build) {
    build.onResolve({ filter: /^\.\/cli\/mod\.ts$/ }, ({ path }) => ({ path, external: true }));
  },
};

/** Removes the older bundles in `folder` that no process was started from. */
export function removeOlder(folder: string, than: Bundle): void {
  const newest = basename(dirname(than.path));
  for (const name of readdirSync(folder)) {
    if (name !== newest && !isUsed(`${folder}/${name}/`))
      rmSync(`${folder}/${name}`, { recursive: true });
  }
}

function isUsed(folder: string): boolean {
  return readdirSync("/proc").some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(folder);
    } catch {
      return false; // it has ended
    }
  });
}
