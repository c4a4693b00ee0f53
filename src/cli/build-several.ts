/** `build` with several `--target`: all at once, each with its name and its place. */
import { join } from "node:path";
import { Failure } from "../base/mod.ts";
import { writeMetadata } from "./bake.ts";
import { type Job, runJobs } from "./bake-run.ts";
import { buildOutputs, type PlacedOutput } from "./build-outputs.ts";
import type { BuildShow } from "./build-progress.ts";
import type { BuildFlags } from "./build-query.ts";
import { allAuths } from "./credentials.ts";
import { configFolder, engineOf } from "./engine.ts";
import type { Globals } from "./globals.ts";
import { print } from "./output.ts";

interface Several {
  readonly flags: BuildFlags;
  readonly place: string;
  readonly show: BuildShow;
  readonly globals: Globals;
}

/** Prints the IDs in the targets' order, after all are done. @throws Failure "invalid" */
export async function buildSeveral({ flags, place, show, globals }: Several): Promise<number> {
  const names = [...new Set(flags.target)];
  const refuse = (why: string, hint: string) =>
    new Failure("invalid", `Cannot build several targets: ${why}`, { hint });
  if (flags.tag.length > 0 && flags.tag.length !== names.length) {
    const hint = "Give one -t for each --target, in their order";
    throw refuse(`${names.length} targets have ${flags.tag.length} names`, hint);
  }
  if (place === "-" || flags.file === "-") {
    throw refuse("STDIN can be read once", "Name a folder, and a Dockerfile with -f");
  }
  if (flags.iidfile) throw refuse("--iidfile holds one ID", "--metadata-file has all of them");
  const jobs = names.map((name, at): [string, Job] => {
    const own = { ...flags, target: [name], tag: flags.tag.slice(at, at + 1) };
    const placed = (outputs: readonly PlacedOutput[]) =>
      outputs.map((output) => {
        if (output.dest === undefined) return output;
        if (output.isFolder) return { ...output, dest: join(output.dest, name) };
        throw refuse(`they would share ${output.dest}`, "Results go into folders: -o type=local");
      });
    placed(buildOutputs(own)); // before anything is sent
    return [name, { needs: [], place, flags: () => own, placed }];
  });
  const auths = await allAuths(configFolder(globals));
  const made = await runJobs(engineOf(globals), new Map(jobs), { show, auths });
  if (flags["metadata-file"]) await writeMetadata(flags["metadata-file"], made);
  if (show === "quiet") for (const { id } of made.values()) print(id);
  return 0;
}
