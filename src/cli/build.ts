import type { ProgressMessage } from "../api/schema.ts";
import { parseCall, showAnswer } from "./build-call.ts";
import { buildFlags } from "./build-flags.ts";
import { receive } from "./build-outputs.ts";
import { answering } from "./build-pieces.ts";
import { shown, showOf } from "./build-progress.ts";
import { needsOf, prepareBuild } from "./build-query.ts";
import { defineCommand } from "./command.ts";
import { allAuths } from "./credentials.ts";
import { configFolder, engineOf } from "./engine.ts";
import { flushOutput, print, write } from "./output.ts";
import { showProgress } from "./progress.ts";

export const command = defineCommand({
  usage: "[OPTIONS] PATH | URL | -",
  flags: buildFlags,
  arguments: { min: 1, max: 1 },
  async run({ flags, args, globals }) {
    const call = parseCall(flags.check ? "check" : flags.call);
    if (flags.target.length > 1 && call.method === "build") {
      const { buildSeveral } = require("./build-several.ts") as typeof import("./build-several.ts");
      const show = showOf(flags, isTerminal(1));
      return await buildSeveral({ flags, place: args[0]!, show, globals });
    }
    const engine = engineOf(globals);
    const isCall = call.method !== "build";
    await using prepared = await prepareBuild(engine, flags, {
      place: args[0]!,
      needs: isCall ? "lone" : needsOf(flags),
    });
    const { context, outputs, pieces } = prepared;
    const toStdout = outputs.some(({ dest }) => dest === "-");
    const show = showOf(flags, isTerminal(toStdout ? 2 : 1));
    const events = show !== "plain" && show !== "quiet";
    const query = { ...prepared.query, events };
    if (isCall) {
      const asked = { ...query, call: call.method, events: false };
      return showAnswer(call, await engine.images.call(asked, context));
    }
    const registries = await allAuths(configFolder(globals));
    const sent = await engine.images.build(query, context, { registries });
    const messages = pieces ? answering(engine, sent, pieces) : sent;
    let last: NonNullable<ProgressMessage["aux"]> = {};
    const isQuiet = show === "quiet";
    const told: ProgressMessage[] = [];
    const visible = shown(messages, { show, explains: flags.explain !== "" });
    const kept = isQuiet ? remembered(visible, told) : visible;
    try {
      await showProgress(kept, {
        quiet: isQuiet,
        stream: toStdout ? 2 : 1,
        isTerminal: show === "tty",
        onAux: (aux) => {
          last = aux.ID ? aux : last;
        },
      });
    } catch (error) {
      // What a quiet build had kept to itself explains the failure.
      for (const { stream } of told) if (stream) write(stream, 2);
      await flushOutput();
      throw error;
    }
    await receive(engine, outputs, last.Results ?? []);
    await prepared.receiveCaches(last.Caches ?? []);
    const id = last.ID ?? "";
    if (flags.quiet && show === "quiet" && !toStdout) print(id || lastLine(told));
    if (flags.iidfile) await Bun.write(flags.iidfile, id);
    if (flags["metadata-file"]) {
      const metadata = `${JSON.stringify(last.Metadata ?? {}, null, 2)}\n`;
      await Bun.write(flags["metadata-file"], metadata);
    }
    return 0;
  },
});

/** Loads node:tty, and node:net with it, which takes longer than a small context. */
function isTerminal(stream: 1 | 2): boolean {
  return (require("node:tty") as typeof import("node:tty")).isatty(stream);
}

const toldMax = 10_000;

async function* remembered(
  messages: AsyncIterable<ProgressMessage>,
  told: ProgressMessage[],
): AsyncGenerator<ProgressMessage> {
  for await (const message of messages) {
    if (told.length === toldMax) told.shift();
    told.push(message);
    yield message;
  }
}

/** A quiet build of Docker answers with the ID as its one line. */
function lastLine(told: readonly ProgressMessage[]): string {
  return told.findLast(({ stream }) => stream)?.stream?.trim() ?? "";
}
