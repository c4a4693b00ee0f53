/** Answers an engine that asks for files of a context that was only listed, or for the listing. */
import type { ProgressMessage } from "../api/schema.ts";
import type { GivePieces } from "./build-source.ts";
import type { Client } from "./engine.ts";

/** Passes messages on, but for the questions, which are answered meanwhile. @throws what sending threw */
export async function* answering(
  engine: Client,
  messages: AsyncIterable<ProgressMessage>,
  pieces: GivePieces,
): AsyncGenerator<ProgressMessage> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {}); // whoever reads on hears of it
  const reader = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await Promise.race([reader.next(), failed.promise]);
      if (next.done) return;
      const { event } = next.value;
      if (event?.kind === "need" || event?.kind === "need_listing") {
        const wanted = event.kind === "need" ? event.paths : "listing";
        engine.images.sendPieces(event.id, pieces(wanted)).catch(failed.reject);
      } else yield next.value;
    }
  } finally {
    // Not waited for: it comes after the next message, and the engine has none while it waits for us.
    void reader.return?.();
  }
}
