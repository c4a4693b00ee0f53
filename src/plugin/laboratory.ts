/** A plugin for tests: a real server at a real socket, with answers of the test's choice. */
import { mkdirSync } from "node:fs";

export interface TestPlugin extends Disposable {
  /** What was called, in order, without the handshakes. */
  readonly calls: { method: string; body: Record<string, unknown> }[];
}

type Answer = (body: Record<string, unknown>) => unknown;

/** Serves `NAME.sock` in `folder`. A method without an answer is refused as Docker's SDK does. */
export function servePlugin(
  { folder, name, kinds }: { folder: string; name: string; kinds: readonly string[] },
  answers: Readonly<Record<string, Answer>>,
): TestPlugin {
  mkdirSync(folder, { recursive: true });
  const calls: TestPlugin["calls"] = [];
  const server = Bun.serve({
    unix: `${folder}/${name}.sock`,
    async fetch(request) {
      const method = new URL(request.url).pathname.slice(1);
      if (method === "Plugin.Activate") return Response.json({ Implements: kinds });
      const body = ((await request.json().catch(() => ({}))) ?? {}) as Record<string, unknown>;
      calls.push({ method, body });
      const answer = answers[method];
      if (!answer) return new Response("404 page not found\n", { status: 404 });
      try {
        return Response.json(answer(body) ?? {});
      } catch (error) {
        return Response.json({ Err: (error as Error).message }, { status: 500 });
      }
    },
  });
  return {
    calls,
    [Symbol.dispose]: () => void server.stop(true),
  };
}
