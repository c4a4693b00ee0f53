/**
 * The library for a process that does not run on Bun: see library-node.mjs. Lines of JSON on stdin open it, ask for
 * builds and images, and stop builds; events, results and failures go as lines on stdout, each with the
 * number of what was asked. The end of stdin closes it.
 */
import { createInterface } from "node:readline";
import { toFailure } from "./base/mod.ts";
import { type BuildOptions, type Lading, type LadingOptions, openLading } from "./library.ts";
import type { Digest } from "./oci/mod.ts";

interface Line {
  readonly open?: LadingOptions;
  readonly id?: number;
  readonly build?: Omit<BuildOptions, "signal"> & { readonly secrets?: Record<string, unknown> };
  readonly abort?: boolean;
  readonly images?: readonly [method: string, ...args: readonly never[]];
}

const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
const tellFailure = (id: number | undefined, error: unknown) => {
  const { code, message, hint } = toFailure(error);
  say({ id, failure: { code, message, hint } });
};
const running = new Map<number, AbortController>();

async function build(lading: Lading, id: number, options: NonNullable<Line["build"]>) {
  const stop = new AbortController();
  running.set(id, stop);
  try {
    const secrets = Object.entries(options.secrets ?? {}).map(([name, value]) => {
      const bytes = (value as { base64?: string }).base64;
      return [name, bytes === undefined ? value : Buffer.from(bytes, "base64")];
    });
    const given = { ...options, secrets: Object.fromEntries(secrets), signal: stop.signal };
    const building = lading.build(given);
    for await (const event of building) {
      const isOutput = event.kind === "output";
      say({
        id,
        event: isOutput ? { ...event, bytes: Buffer.from(event.bytes).toString("base64") } : event,
      });
    }
    say({ id, result: await building });
  } catch (error) {
    tellFailure(id, error);
  } finally {
    running.delete(id);
  }
}

/** No container runs here, and nobody watches a load. */
const alone = { users: () => [], report: () => undefined };

function imageCalls({ images }: Lading): Readonly<Record<string, (...args: never[]) => unknown>> {
  type Options<Name extends "remove" | "load" | "import"> = Parameters<(typeof images)[Name]>[1];
  return {
    list: () => images.list(),
    find: (name: string) => images.find(name) ?? null,
    resolve: (name: string) => images.resolve(name),
    history: (id: Digest) => images.history(id),
    tag: (id: Digest, name: string) => images.tag(id, name),
    remove: (name: string, options: Partial<Options<"remove">> = {}) =>
      images.remove(name, { force: false, noPrune: false, ...options, ...alone }),
    load: (path: string, options: Partial<Options<"load">> = {}) =>
      images.load(path, { ...options, ...alone }),
    import: (path: string, options: Options<"import">) => images.import(path, options),
  };
}

async function ask(lading: Lading, id: number, [method, ...args]: NonNullable<Line["images"]>) {
  try {
    say({ id, result: (await imageCalls(lading)[method]?.(...args)) ?? null });
  } catch (error) {
    tellFailure(id, error);
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
try {
  const first = await lines.next();
  const { open = {} } = JSON.parse(first.value ?? "{}") as Line;
  await using lading = await openLading(open);
  say({ opened: true });
  const going = new Set<Promise<void>>();
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const line = JSON.parse(next.value) as Line;
    const { id = 0 } = line;
    if (line.abort) running.get(id)?.abort();
    const work = line.build
      ? build(lading, id, line.build)
      : line.images && ask(lading, id, line.images);
    if (work) going.add(work.finally(() => going.delete(work)));
  }
  for (const stop of running.values()) stop.abort();
  await Promise.all(going);
} catch (error) {
  tellFailure(undefined, error);
}
process.exit();
