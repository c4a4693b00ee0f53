/** How a build is shown: as Docker's text, live, as JSON, or explained at its end. */
import type { BuildEventMessage, BuildReason, ProgressMessage } from "../api/schema.ts";
import { BuildView } from "./build-view.ts";
import { print, write } from "./output.ts";

export type BuildShow = "plain" | "tty" | "json" | "quiet" | "explain-json";

/** What to show, from `--progress`, `--quiet`, `--explain` and what stdout is. */
export function showOf(
  flags: { progress: string; quiet: boolean; explain: string },
  isTerminal: boolean,
): BuildShow {
  if (flags.explain === "json") return "explain-json";
  if (flags.quiet || flags.progress === "quiet" || flags.progress === "none") return "quiet";
  if (flags.progress === "json" || flags.progress === "rawjson") return "json";
  if (flags.progress === "tty") return "tty";
  return flags.progress === "auto" && isTerminal ? "tty" : "plain";
}

/** Takes the events out of a build's messages and shows them; what remains is passed on. */
export async function* shown(
  messages: AsyncIterable<ProgressMessage>,
  { show, explains }: { show: BuildShow; explains: boolean },
): AsyncGenerator<ProgressMessage> {
  if (show === "tty") yield* live(messages, explains);
  else if (show === "json") yield* asJson(messages);
  else if (show === "explain-json") yield* explained(messages);
  else yield* messages;
}

const drawEveryMs = 100;

/** A view that is drawn anew now and then, until it is disposed of. */
export function liveView(explains: boolean): Disposable & { view: BuildView; image: string } {
  const { WriteStream } = require("node:tty") as typeof import("node:tty");
  const terminal = new WriteStream(1);
  const size = () => ({ columns: terminal.columns || 80, rows: terminal.rows || 24 });
  const view = new BuildView({ size, explains, write: (text) => void write(text) });
  const timer = setInterval(() => view.draw(), drawEveryMs);
  return {
    view,
    image: "",
    [Symbol.dispose]() {
      clearInterval(timer);
      view.end(this.image);
    },
  };
}

async function* live(
  messages: AsyncIterable<ProgressMessage>,
  explains: boolean,
): AsyncGenerator<ProgressMessage> {
  using shown = liveView(explains);
  for await (const message of messages) {
    shown.image = message.aux?.ID ?? shown.image;
    if (message.event) shown.view.take(message.event);
    else if (message.status !== undefined) shown.view.pull(message);
    else yield message;
  }
}

async function* asJson(messages: AsyncIterable<ProgressMessage>): AsyncGenerator<ProgressMessage> {
  for await (const message of messages) {
    print(JSON.stringify(message.event ?? message));
    if (!message.event) yield { ...message, stream: "" };
  }
}

interface ExplainedStep {
  readonly step: number;
  readonly stage: string;
  readonly instruction: string;
  readonly outcome: string;
  readonly reason: string;
  readonly reasons: readonly BuildReason[];
  readonly ms: number;
}

/** One JSON value at the end, however the build ends. */
async function* explained(
  messages: AsyncIterable<ProgressMessage>,
): AsyncGenerator<ProgressMessage> {
  const begun = new Map<number, Extract<BuildEventMessage, { kind: "step" }>>();
  const steps: ExplainedStep[] = [];
  let [id, image] = ["", ""];
  try {
    for await (const message of messages) {
      const { event } = message;
      if (event?.kind === "begun") id = event.id;
      else if (event?.kind === "step") begun.set(event.step, event);
      else if (event?.kind === "settled") {
        const { step, outcome, why: reason, reasons, ms } = event;
        const { stage = "", text: instruction = "" } = begun.get(step) ?? {};
        steps.push({ step, stage, instruction, outcome, reason, reasons, ms });
      } else if (!event && message.status === undefined) {
        image = message.aux?.ID ?? image;
        yield { ...message, stream: "" };
      }
    }
  } finally {
    steps.sort((a, b) => a.step - b.step);
    print(JSON.stringify({ build: id, image, steps }, null, 2));
  }
}
