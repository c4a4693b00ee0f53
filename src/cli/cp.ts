import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { copyFrom } from "./cp-from.ts";
import { copyTo } from "./cp-to.ts";
import { engineOf } from "./engine.ts";
import { humanSize } from "./human.ts";
import { complain } from "./output.ts";

export const command = defineCommand({
  usage:
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tlading cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
  flags: {
    archive: { kind: "bool", short: "a", about: "Keep owners" },
    "follow-link": { kind: "bool", short: "L", about: "Copy what a symbolic link points to" },
    quiet: { kind: "bool", short: "q", about: "Say nothing" },
  },
  arguments: { min: 2, max: 2 },
  async run({ flags, args, globals }) {
    const [source, target] = args.map(parsePlace) as [Place, Place];
    if (source.path === "") throw new Failure("invalid", "source can not be empty");
    if (target.path === "") throw new Failure("invalid", "destination can not be empty");
    if (source.container && target.container) {
      throw new Failure("invalid", "copying between containers is not supported");
    }
    const engine = engineOf(globals);
    const options = { keepsOwners: flags.archive, followsLink: flags["follow-link"] };
    let copiedBytes: number;
    if (source.container) {
      copiedBytes = await copyFrom(
        engine,
        { ...source, container: source.container },
        target.path,
        options,
      );
    } else if (target.container) {
      copiedBytes = await copyTo(
        engine,
        source.path,
        { ...target, container: target.container },
        options,
      );
    } else throw new Failure("invalid", "must specify at least one container source");
    const { isatty } = require("node:tty") as typeof import("node:tty");
    if (!flags.quiet && isatty(2) && target.path !== "-") {
      const where = target.container ? `${target.container}:${target.path}` : target.path;
      complain(`Successfully copied ${humanSize(copiedBytes)} to ${where}`);
    }
    return 0;
  },
});

/** A path here or in a container. */
export interface Place {
  readonly container: string | undefined;
  readonly path: string;
}

/** `name:/path`; a path that starts with "/" or "." is here, though it holds a colon. */
export function parsePlace(text: string): Place {
  const at = text.indexOf(":");
  if (at === -1 || /^[/.]/.test(text)) return { container: undefined, path: text };
  return { container: text.slice(0, at), path: text.slice(at + 1) };
}
