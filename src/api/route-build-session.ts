/**
 * `POST /build?version=2`: how Docker's clients of 18.09 to 22 ask for BuildKit without a plugin. Files,
 * secrets and agents come by the client's session; the answer carries BuildKit's status messages.
 */
import { once } from "node:events";
import { Failure } from "../base/mod.ts";
import type { Asked } from "../buildkit/mod.ts";
import { parseLimits } from "./build-limits.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, parseJson, textOf } from "./fields.ts";
import { ProgressAnswer } from "./progress.ts";
import { flag, whole } from "./query.ts";
import { controlOf } from "./route-buildkit.ts";
import type { Route } from "./router.ts";

/** A build whose context is a request of its own, and the `buildid` of that request. */
const uploadRequest = "upload-request";
const uploadsMax = 64;
/** A build and its context are sent at once; either may come first. */
const arrivalMsMax = 10_000;

/** Contexts on their way to a build, by its `buildid`. */
const uploads = new Map<string, PromiseWithResolvers<Upload>>();
/** Builds that `POST /build/cancel` can end. */
const running = new Map<string, AbortController>();

interface Upload {
  readonly body: AsyncIterable<Uint8Array>;
  readonly taken: PromiseWithResolvers<void>;
}

/** True where the query asks for it. */
export function isSessionBuild(query: URLSearchParams): boolean {
  return query.get("version") === "2";
}

/** @throws Failure before the first message; later ones are the last message */
export async function buildBySession(exchange: Exchange, context: Context): Promise<void> {
  const { query } = exchange;
  const id = query.get("buildid") ?? "";
  if (id.startsWith(`${uploadRequest}:`)) return await takeUpload(exchange, id);
  const control = controlOf(context);
  const session = query.get("session") ?? "";
  // Before anything can fail: a client whose session is not yet open would wait for it for ever.
  await control.sessions.find(session);
  const cancel = new AbortController();
  const signal = AbortSignal.any([exchange.signal, cancel.signal]);
  await using cleanup = new AsyncDisposableStack();
  if (id !== "" && !running.has(id)) {
    running.set(id, cancel);
    cleanup.defer(() => void running.delete(id));
  }
  const exporters = exportersOf(query);
  const asked = {
    ref: crypto.randomUUID(),
    session,
    exporters,
    entitlements: [],
    attributes: attributesOf(query),
    signal,
    ...(await sentContext(context, { query, id, signal, cleanup })),
  };
  const answer = new ProgressAnswer(exchange);
  await answer.run(async () => {
    const produced = await control.build(asked, (status) =>
      answer.send({ id: "moby.buildkit.trace", aux: Buffer.from(status).toString("base64") }),
    );
    if (!exporters.some(({ type }) => type === "moby")) return;
    answer.send({ id: "moby.image.id", aux: { ID: produced.id } });
    if (flag(query, "q")) answer.send({ stream: `${produced.id}\n` });
  });
}

/** A context on stdin, or a repository's that the engine fetches: others are the session's. */
async function sentContext(
  { builder }: Context,
  asked: {
    readonly query: URLSearchParams;
    readonly id: string;
    readonly signal: AbortSignal;
    readonly cleanup: AsyncDisposableStack;
  },
): Promise<{ contextPath?: string }> {
  if (asked.query.get("remote") !== uploadRequest) return {};
  const { body, taken } = await upload(`${uploadRequest}:${asked.id}`, asked.signal);
  try {
    const context = asked.cleanup.use(await builder.takeContext(body, asked.signal));
    return { contextPath: context.path };
  } finally {
    taken.resolve();
  }
}

/** `POST /build?version=2&buildid=upload-request:ID`: the body is the context of the build ID. */
async function takeUpload(exchange: Exchange, id: string): Promise<void> {
  const taken = Promise.withResolvers<void>();
  const { signal } = exchange;
  uploadOf(id).resolve({ body: exchange.body(), taken });
  const timer = setTimeout(() => {
    if (uploads.delete(id)) taken.reject(new Failure("timeout", "no build asked for this context"));
  }, arrivalMsMax);
  try {
    await Promise.race([taken.promise, ...(signal.aborted ? [] : [once(signal, "abort")])]);
  } finally {
    clearTimeout(timer);
    uploads.delete(id);
  }
  exchange.empty(200);
}

function uploadOf(id: string): PromiseWithResolvers<Upload> {
  const found = uploads.get(id);
  if (found) return found;
  if (uploads.size >= uploadsMax) {
    throw new Failure("exhausted", `Cannot take the context: ${uploadsMax} wait for their builds`);
  }
  const upload = Promise.withResolvers<Upload>();
  uploads.set(id, upload);
  return upload;
}

/** Waits for a context. Whoever stops waiting leaves nothing behind: others wait here too. */
async function upload(id: string, signal: AbortSignal): Promise<Upload> {
  const { promise } = uploadOf(id);
  const late = new Failure("timeout", "Cannot build: its context did not come");
  const given = Promise.withResolvers<never>();
  const giveUp = () => given.reject(new Failure("unavailable", "context canceled"));
  const timer = setTimeout(() => given.reject(late), arrivalMsMax);
  if (signal.aborted) giveUp();
  signal.addEventListener("abort", giveUp);
  try {
    return await Promise.race([promise, given.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
    uploads.delete(id);
  }
}

/** `POST /build/cancel?id=…`: an unknown build is none any more. */
function cancelBuild(exchange: Exchange): void {
  running
    .get(exchange.query.get("id") ?? "")
    ?.abort(new Failure("unavailable", "context canceled"));
  exchange.empty(200);
}

/** The query as attributes of BuildKit's Dockerfile frontend. @throws Failure "invalid" */
function attributesOf(query: URLSearchParams): ReadonlyMap<string, string> {
  const record = (name: string) =>
    new Fields({ [name]: parseJson(query.get(name) || "null") }, "").record(name, (value, where) =>
      value === null ? "" : textOf(value, where),
    ) ?? {};
  const below = (prefix: string, values: Readonly<Record<string, string>>) =>
    Object.entries(values).map(([name, value]) => [`${prefix}${name}`, value] as const);
  const remote = query.get("remote") ?? "";
  const isHere = ["", "client-session", uploadRequest].includes(remote);
  const { cgroupParent = "", ulimits = [] } = parseLimits(query);
  const limits = ulimits.map(({ name, soft, hard }) => `${name}=${soft}:${hard}`);
  return new Map([
    ["filename", query.get("dockerfile") || "Dockerfile"],
    ["target", query.get("target") ?? ""],
    ["platform", query.get("platform") ?? ""],
    ["force-network-mode", query.get("networkmode") ?? ""],
    ["add-hosts", query.getAll("extrahosts").join(",")],
    ["shm-size", String(whole(query, "shmsize") ?? 0)],
    ["cgroup-parent", cgroupParent],
    ["ulimit", limits.join(",")],
    ...(isHere ? [] : [["context", remote] as const]),
    ...(flag(query, "nocache") ? [["no-cache", ""] as const] : []),
    ...(flag(query, "pull") ? [["image-resolve-mode", "pull"] as const] : []),
    ...below("build-arg:", record("buildargs")),
    ...below("label:", record("labels")),
  ]);
}

/** `outputs=[{"Type":"local","Attrs":{}}]`, or an image of the tags. @throws Failure "invalid" */
function exportersOf(query: URLSearchParams): Asked["exporters"] {
  const image = { type: "moby", attributes: new Map([["name", query.getAll("t").join(",")]]) };
  const parsed = parseJson(query.get("outputs") || "[]");
  if (!Array.isArray(parsed) || parsed.length > 1) {
    throw new Failure("invalid", "multiple outputs not supported");
  }
  if (parsed.length === 0) return [image];
  const fields = new Fields(parsed[0], "outputs[0]");
  const type = fields.text("Type") ?? "";
  if (type === "cacheonly") return [];
  if (type === "" || type === "image" || type === "moby") return [image];
  return [{ type, attributes: new Map(Object.entries(fields.record("Attrs", textOf) ?? {})) }];
}

export const sessionRoutes: readonly Route[] = [["POST", "/build/cancel", cancelBuild]];
