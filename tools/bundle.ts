/**
 * Makes one file with bytecode of the command line, `.cache/cli/bundle-entry.js`: a command starts in half the
 * time that its modules take one by one. `bin/lading` uses it as long as no source is newer.
 */
import { mkdirSync, renameSync, rmSync } from "node:fs";

const root = new URL("..", import.meta.url).pathname;
const folder = `${root}.cache/cli`;

/** Bundles into a fresh folder, which then takes the old one's place. */
export async function bundleCli(): Promise<void> {
  const fresh = `${folder}.${process.pid}`;
  const result = await Bun.build({
    entrypoints: [`${root}src/cli/bundle-entry.ts`],
    outdir: fresh,
    target: "bun",
    format: "cjs",
    bytecode: true,
    // Names stay: a stack trace of a user's must say something.
    minify: { whitespace: true, syntax: true, identifiers: false },
  });
  if (!result.success) throw new AggregateError(result.logs, "Cannot bundle the command line");
  mkdirSync(`${root}.cache`, { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
}

if (import.meta.main) await bundleCli();
