/** Where a build's files come from: its body, an address, and contexts that were sent ahead. */
import type { Builder, BuildRequest, NamedContext } from "../build/mod.ts";
import { parseNamedContext } from "../build/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, parseJson, textOf } from "./fields.ts";
import type { Route } from "./router.ts";

/** `POST /build/contexts`: the body is a folder as tar; the answer names it for one build. */
async function keepContext(exchange: Exchange, { builder }: Context): Promise<void> {
  const taken = await builder.takeContext(exchange.body(), exchange.signal);
  exchange.json(201, { Id: await builder.uploads.keep(taken) });
}

type Asked = Pick<BuildRequest, "buildArgs" | "secrets" | "agents" | "dockerfile" | "signal">;
type Opened = Pick<BuildRequest, "contextPath" | "dockerfile" | "contexts"> &
  Partial<Pick<BuildRequest, "commitSeconds">>;

/**
 * Opens all contexts of a build, to be closed with `cleanup`: its own (the body, or `remote=ADDRESS`),
 * and `contexts={"name":"docker-image://…"}`. @throws Failure
 */
export async function openContexts(
  exchange: Exchange,
  { builder }: Context,
  { asked, cleanup }: { asked: Asked; cleanup: AsyncDisposableStack },
): Promise<Opened> {
  const { query, signal } = exchange;
  const contexts = namedContexts(query, builder, cleanup);
  const ahead = query.get("dockerfilecontext") ?? "";
  const sent = ahead === "" ? undefined : { text: await builder.uploads.dockerfile(ahead) };
  const remote = query.get("remote") ?? "";
  if (remote === "" || remote === "client-session") {
    const taken = cleanup.use(await builder.takeContext(exchange.body(), signal));
    return { contextPath: taken.path, dockerfile: sent ?? asked.dockerfile, contexts };
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
