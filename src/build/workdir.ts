import { chmodFile, closeFile } from "../sys/mod.ts";
import type { LayerWork } from "./layer-step.ts";
import { Root } from "./rooted.ts";
import type { StepScope } from "./scope.ts";
import { keyOf, workdirOf } from "./state.ts";
import { commitStep, openScratch } from "./tools.ts";

/** Plans a WORKDIR, whose path is in the state already. */
export function workdirStep({ build: { tools }, state }: StepScope): LayerWork {
  const path = workdirOf(state);
  return {
    key: keyOf(state.key, "workdir", path),
    inputs: { path },
    history: `WORKDIR ${path}`,
    make: async () => {
      await using scratch = await openScratch(tools, state.layers);
      if (!makeWorkdir(scratch.root, path)) return undefined;
      return (await commitStep(tools, scratch, state)).diffId;
    },
  };
}

/** Makes the folder of a WORKDIR, root's; tells whether there was anything to make. */
function makeWorkdir(path: string, workdir: string): boolean {
  using root = new Root(path);
  let count = 0;
  const made = (folder: number) => {
    chmodFile(folder, 0o755); // whatever our umask is
    count++;
  };
  closeFile(root.makeFolders(workdir, made));
  return count > 0;
}
