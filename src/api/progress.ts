/** The lines of JSON that pull, push, load, import and build answer with. */
import { Failure, toFailure } from "../base/mod.ts";
import type { Report } from "../image/mod.ts";
import { messageOf } from "./answers.ts";
import type { Exchange, Output } from "./exchange.ts";
import type { ProgressMessage, TraceMessage } from "./schema.ts";

const waitingBytesMax = 16 << 20;
/** About what a message takes beside its text. */
const messageBytes = 200;

/**
 * Sends messages in order, as they come. The head of the answer goes with the first one, so that what
 * fails before it still gets a status; what fails after it becomes the last message.
 */
export class ProgressAnswer {
  readonly #exchange: Exchange;
  #output: Output | undefined;
  #tail: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #isGone = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** Queues a message. A client that reads too slowly loses output, never the engine its memory. */
  send(message: ProgressMessage | TraceMessage): void {
    if (this.#isGone) return;
    if (this.#waitingBytes > waitingBytesMax) return;
    this.#output ??= this.#exchange.stream(200, "application/json");
    const output = this.#output;
    const size = textBytes(message) + messageBytes;
    this.#waitingBytes += size;
    this.#tail = this.#tail.then(async () => {
      try {
        if (!this.#isGone) await output.line(message);
      } catch {
        this.#isGone = true; // the work goes on or not as its own signal says
      } finally {
        this.#waitingBytes -= size;
      }
    });
  }

  /** What the folders below report, as a message. */
  readonly report: Report = ({ status, stream, id, progress, aux }) => {
    this.send({
      ...(aux ? { progressDetail: {}, aux } : {}),
      ...(status === undefined ? {} : { status }),
      ...(stream === undefined ? {} : { stream }),
      ...(progress
        ? { progressDetail: progress }
        : status === undefined
          ? {}
          : { progressDetail: {} }),
      ...(id === undefined ? {} : { id }),
    });
  };

  /** Runs the work and ends the answer. @throws what failed before the first message */
  async run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#output) throw error;
      const failure = toFailure(error);
      const message = messageOf(failure);
      this.send({ errorDetail: { ...codeIn(failure), message }, error: message });
    }
    await this.#tail;
    if (!this.#output) this.#output = this.#exchange.stream(200, "application/json");
  }
}

function textBytes(message: ProgressMessage | TraceMessage): number {
  if (typeof message.aux === "string") return message.aux.length;
  const { stream = "", event } = message as ProgressMessage;
  return stream.length + (event && "text" in event ? event.text.length : 0);
}

/** The exit code of a RUN step that failed goes along: clients end with it. */
function codeIn(failure: Failure): { code?: number } {
  const { exitCode } = failure as Failure & { exitCode?: number };
  return exitCode === undefined ? {} : { code: exitCode };
}

/** Where registries are needed and there are none yet. */
export function noRegistries(what: string): Failure {
  return new Failure("unsupported", `Cannot ${what}: this engine cannot reach registries yet`, {
    hint: "Images come in by load, import and build",
  });
}
