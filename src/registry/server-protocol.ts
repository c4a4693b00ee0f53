import type { Access, Action, Need } from "./access.ts";
import type { Cache } from "./cache-open.ts";
import type { RetentionRule } from "./config.ts";
import { Refusal } from "./refusal.ts";
import { json } from "./server-answer.ts";
import { answerBlob } from "./server-blobs.ts";
import type { Call, RefusedAccess, Tell } from "./server-call.ts";
import { listReferrers, listRepositories, listTags } from "./server-lists.ts";
import { answerManifest } from "./server-manifests.ts";
import type { Metrics } from "./server-metrics.ts";
import type { Policy } from "./server-policy.ts";
import { parseRoute, type Route } from "./server-route.ts";
import { answerUpload, beginUpload } from "./server-uploads.ts";
import type { RegistryStore } from "./store-open.ts";

export interface ServerParts {
  readonly store: RegistryStore;
  readonly access: Access;
  readonly policy: Policy;
  readonly tell: Tell;
  readonly retention?: readonly RetentionRule[];
  readonly metrics?: Metrics;
  /** Repositories that are copies of others. */
  readonly cache?: Cache;
  readonly tellRefused?: (refused: RefusedAccess) => void;
  /** Throws a Refusal for clients that ask too often. */
  readonly limitRate?: (peer: string) => void;
}

const methods: Record<Route["kind"], Readonly<Record<string, Action>>> = {
  base: { GET: "pull", HEAD: "pull" },
  catalog: { GET: "pull", HEAD: "pull" },
  tags: { GET: "pull", HEAD: "pull" },
  referrers: { GET: "pull", HEAD: "pull" },
  manifest: { GET: "pull", HEAD: "pull", PUT: "push", DELETE: "delete" },
  blob: { GET: "pull", HEAD: "pull", DELETE: "delete" },
  uploads: { POST: "push" },
  upload: { GET: "push", HEAD: "push", PATCH: "push", PUT: "push", DELETE: "push" },
};

/** Answers a request below `/v2/`. @throws Refusal */
export async function answerProtocol(
  parts: ServerParts,
  path: string,
  asked: Omit<Call, "who">,
): Promise<Response> {
  const route = parseRoute(path);
  if (!route) throw new Refusal("UNSUPPORTED", "Cannot find this path", { status: 404 });
  const { method } = asked.request;
  const action = methods[route.kind][method];
  if (!action) {
    const allow = Object.keys(methods[route.kind]).join(", ");
    throw new Refusal("UNSUPPORTED", `Cannot ${method} here`, { headers: { Allow: allow } });
  }
  const who = await parts.access.admit(asked, needsOf(route, action));
  const call: Call = { ...asked, who };
  const cached = await fromCache(parts, route, call);
  if (cached) return cached;
  const { store } = parts;
  switch (route.kind) {
    case "base":
      return json({});
    case "catalog":
      return listRepositories(store, call);
    case "tags":
      return listTags(store, route.name, call);
    case "referrers":
      return await listReferrers(store, route, call);
    case "manifest":
      return await answerManifest(parts, route, call);
    case "blob":
      return await answerBlob(parts, route, call);
    case "uploads":
      return await beginUpload(parts, route.name, call);
    case "upload":
      return await answerUpload(parts, route, call);
  }
}

/** Brings what a cached repository lacks; undefined: the answer is as for any other. */
async function fromCache(
  { cache }: ServerParts,
  route: Route,
  { request }: Call,
): Promise<Response | undefined> {
  if (!cache || !("name" in route) || !cache.owns(route.name)) return undefined;
  if (route.kind === "uploads" || route.kind === "upload" || request.method === "PUT") {
    throw new Refusal(
      "UNSUPPORTED",
      `Cannot push to "${route.name}": it is a copy of another registry`,
    );
  }
  if (request.method === "DELETE") return undefined;
  if (route.kind === "manifest") await cache.bringManifest(route.name, route.reference);
  if (route.kind === "blob") return await cache.bringBlob(route, request.method);
  return undefined;
}

/** Whoever pushes reads as well: a push asks what is there. */
function needsOf(route: Route, action: Action): Need[] {
  if (route.kind === "base") return [];
  if (route.kind === "catalog") return [{ repository: "", action }];
  const { name: repository } = route;
  if (action === "push")
    return [
      { repository, action: "push" },
      { repository, action: "pull" },
    ];
  return [{ repository, action }];
}
