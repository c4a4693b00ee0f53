/** The entry of the bundles that `tools/bundle.ts` makes of the command line. */
import { runCli } from "./mod.ts";

/** Never settles in time: the process ends with the command. */
export const done = runCli(process.argv.slice(2)).then((code) => process.exit(code));
