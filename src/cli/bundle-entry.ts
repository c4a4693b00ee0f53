/** The entry of the bundle that `tools/bundle.ts` makes of the command line. */
import { runCli } from "./mod.ts";

runCli(process.argv.slice(2)).then((code) => process.exit(code));
