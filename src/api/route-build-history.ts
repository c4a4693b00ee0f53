/** Past builds, and the events of a running one as values: Lading's own endpoints. */
import { type BuildEvent, type PastBuild, reasonText } from "../build/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import type { Route } from "./router.ts";
import type { BuildEventMessage, PastBuildAnswer } from "./schema.ts";

/** Turns events into messages. Output bytes may be cut within a character, so each step has its own. */
export function buildMessages(): (event: BuildEvent) => BuildEventMessage | undefined {
  const decoders = new Map<string, TextDecoder>();
  const decode = ({ number, stream, bytes }: Extract<BuildEvent, { kind: "output" }>) => {
    const name = `${number}:${stream}`;
    const decoder = decoders.get(name) ?? new TextDecoder();
    decoders.set(name, decoder);
    return decoder.decode(bytes, { stream: true });
  };
  return (event) => {
    switch (event.kind) {
      case "output":
        return { kind: "output", step: event.number, stream: event.stream, text: decode(event) };
      case "step": {
        const { number, total, text, stage } = event;
        return { kind: "step", step: number, total, text, stage };
      }
      case "settled": {
        const { number, outcome, reasons, ms } = event;
        const why = reasons.map(reasonText).join("; ");
        return { kind: "settled", step: number, outcome, ms, why, reasons };
      }
      case "skipped":
        return { kind: "skipped", stage: event.stage, steps: event.steps };
      case "warning":
      case "begun":
        return event;
      default:
        return undefined; // told in the words of every build, or of no use to a program
    }
  };
}

function answerOf({ startedMs, endedMs, ...build }: PastBuild): PastBuildAnswer {
  const time = (ms: number) => (ms === 0 ? null : new Date(ms).toISOString());
  return { ...build, started: time(startedMs)!, ended: time(endedMs) };
}

function list(exchange: Exchange, { builder }: Context): void {
  exchange.json(200, builder.history.list().map(answerOf));
}

async function inspect(exchange: Exchange, { builder }: Context, [id = ""]: readonly string[]) {
  const build = builder.history.find(id);
  exchange.json(200, { ...answerOf(build), steps: await builder.history.steps(build.id) });
}

async function logs(exchange: Exchange, { builder }: Context, [id = ""]: readonly string[]) {
  const log = await builder.history.log(builder.history.find(id).id);
  await exchange.stream(200, "text/plain; charset=utf-8").write(log);
}

function remove(exchange: Exchange, { builder }: Context, [id = ""]: readonly string[]): void {
  builder.history.remove(builder.history.find(id).id);
  exchange.empty(204);
}

export const historyRoutes: readonly Route[] = [
  ["GET", "/build/history", list],
  ["GET", "/build/history/{id}", inspect],
  ["GET", "/build/history/{id}/logs", logs],
  ["DELETE", "/build/history/{id}", remove],
];
