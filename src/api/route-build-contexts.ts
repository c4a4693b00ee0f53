/** Where a build's files come from: its body, an address, and contexts that were sent ahead. */
import { Failure } from "../base/mod.ts";
import type { Builder, BuildRequest, NamedContext } from "../build/mod.ts";
import { type Arrival, contextFiles, keepListing, parseNamedContext } from "../build/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, parseJson, textOf } from "./fields.ts";
import { whole } from "./query.ts";
import type { Route } from "./router.ts";
import type { BuildEventMessage } from "./schema.ts";

/**
 * `POST /build/contexts`: the body is a folder as tar; the answer names it for one build. With
 * `for=ID` it answers a build that asked for these files; `size` says about how much it unpacks to.
 */
async function keepContext(exchange: Exchange, { builder }: Context): Promise<void> {
  const sizeBytes = whole(exchange.query, "size") ?? 0;
  const wanted = exchange.query.get("for");
  const { signal } = exchange;
  if (wanted !== null) {
    await builder.demands.answer(wanted, { body: exchange.body(), sizeBytes, signal });
    exchange.empty(204);
    return;
  }
  const taken = await builder.takeContext(exchange.body(), signal, sizeBytes);
  exchange.json(201, { Id: await builder.uploads.keep(taken) });
}

type Asked = Pick<BuildRequest, "buildArgs" | "secrets" | "agents" | "dockerfile" | "signal">;
type Opened = Pick<BuildRequest, "contextPath" | "dockerfile" | "contexts"> &
  Partial<Pick<BuildRequest, "commitSeconds" | "listed">>;

interface Opening {
  readonly asked: Asked;
  readonly cleanup: AsyncDisposableStack;
  /** Tells the client which files it is to send. */
  readonly demand: (event: BuildEventMessage) => void;
}

/**
 * Opens all contexts of a build, to be closed with `cleanup`: its own (the body, or `remote=ADDRESS`),
 * and `contexts={"name":"docker-image://…"}`. @throws Failure
 */
export async function openContexts(
  exchange: Exchange,
  { builder }: Context,
  { asked, cleanup, demand }: Opening,
): Promise<Opened> {
  const { query, signal } = exchange;
  const contexts = namedContexts(query, builder, cleanup);
  const ahead = query.get("dockerfilecontext") ?? "";
  const sent = ahead === "" ? undefined : await builder.uploads.dockerfile(ahead);
  const remote = query.get("remote") ?? "";
  if (remote === "" || remote === "client-session") {
    const taken = cleanup.use(await builder.takeContext(exchange.body(), signal));
    const dockerfile = sent ?? asked.dockerfile;
    const digest = query.get("listed") ?? "";
    if (digest === "") return { contextPath: taken.path, dockerfile, contexts };
    if (!/^[0-9a-f]{64}$/.test(digest)) {
      throw new Failure("invalid", `listed=${digest.slice(0, 64)} is not a SHA-256 in hexadecimal`);
    }
    const listed = contextFiles({
      digest,
      listing: () => {
        const receive = (arrival: Arrival) => keepListing(arrival, `${taken.path}/.lading-listing`);
        const tell = (id: string) => demand({ kind: "need_listing", id });
        return builder.demands.ask(tell, { receive, signal });
      },
      demand: (paths, receive) =>
        builder.demands.ask((id) => demand({ kind: "need", id, paths }), { receive, signal }),
      take: ({ body, signal, sizeBytes }) => builder.takeContext(body, signal, sizeBytes),
      cleanup,
    });
    return { contextPath: taken.path, dockerfile, contexts, listed };
  }
  const taken = cleanup.use(await builder.fetchContext(remote, asked));
  const { path: contextPath, commitSeconds } = taken;
  return {
    contextPath,
    dockerfile: sent ?? taken.dockerfile ?? asked.dockerfile,
    contexts,
    ...(commitSeconds === undefined ? {} : { commitSeconds }),
  };
}

function namedContexts(
  query: URLSearchParams,
  { uploads }: Builder,
  cleanup: AsyncDisposableStack,
): ReadonlyMap<string, NamedContext> {
  const fields = new Fields({ contexts: parseJson(query.get("contexts") || "null") }, "");
  const folderOf = (handle: string) => cleanup.use(uploads.take(handle)).path;
  const all = Object.entries(fields.record("contexts", textOf) ?? {});
  return new Map(all.map(([name, text]) => [name, parseNamedContext(text, folderOf)]));
}

export const contextRoutes: readonly Route[] = [["POST", "/build/contexts", keepContext]];
