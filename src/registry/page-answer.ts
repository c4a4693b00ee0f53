import type { Digest } from "../oci/mod.ts";
import { type Asking, anonymousName, type Identity, openAccess } from "./access.ts";
import { type Html, html, link, page, short, size, table, time } from "./page-html.ts";
import { showManifest } from "./page-manifest.ts";
import { isRepositoryName, parseManifestReference } from "./protocol.ts";
import { Refusal, toRefusal } from "./refusal.ts";
import type { Call } from "./server-call.ts";
import { deleteManifest, findManifest } from "./server-manifests.ts";
import type { ServerParts } from "./server-protocol.ts";
import type { RepositoryId } from "./store-names.ts";

const rowsMax = 200;

/** The registry for people: `/`, `/?repository=a`, `/?repository=a&reference=v1`. POST deletes. */
export async function answerPage(parts: ServerParts, asked: Omit<Call, "who">): Promise<Response> {
  const { request, query } = asked;
  let who: Identity = { name: anonymousName, may: () => false };
  try {
    who = await identify(parts, asked, query.has("login"));
    const name = query.get("repository");
    if (request.method === "POST") return deleteOne(parts, { ...asked, who });
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new Refusal("UNSUPPORTED", `Cannot ${request.method} a page`);
    }
    const last = (query.get("last") ?? "").slice(0, 256);
    if (name === null) return repositories(parts, who, last);
    const repository = open(parts, who, name);
    const reference = query.get("reference");
    if (reference === null) return tags(parts, { who, name, repository, last });
    return await manifest(parts, { who, name, repository, reference, host: hostOf(request) });
  } catch (error) {
    return failed(error, who);
  }
}

function failed(error: unknown, who: Identity): Response {
  const refusal = toRefusal(error, { invalid: "MANIFEST_UNKNOWN" });
  const { wire, status, message, hint } = refusal;
  if (wire === "UNKNOWN") throw error;
  const body = hint ? html`<section class="card"><p>${hint}</p></section>` : html``;
  const answer = page(who.name, { title: message, body, status });
  if (status === 401) answer.headers.set("WWW-Authenticate", 'Basic realm="Lading registry"');
  return answer;
}

async function identify({ access }: ServerParts, asking: Asking, mustLogIn: boolean) {
  const who = await access.identify(asking);
  if (access === openAccess) return { ...who, name: "" }; // nobody can log in
  if (mustLogIn && who.name === anonymousName && !asking.request.headers.has("Authorization")) {
    throw new Refusal("UNAUTHORIZED", "Log in to see more");
  }
  return who;
}

/** What somebody may not see is not there. */
function open({ store }: ServerParts, who: Identity, name: string): RepositoryId {
  const id = isRepositoryName(name) && who.may(name, "pull") ? store.names.find(name) : undefined;
  if (id !== undefined) return id;
  throw new Refusal(
    "NAME_UNKNOWN",
    `There is no repository "${name.slice(0, 255)}" that you may see`,
  );
}

/** As the reader's browser knows us; a part of the command to pull. */
function hostOf(request: Request): string {
  const host = request.headers.get("Host") ?? "";
  return /^[A-Za-z0-9.:[\]_-]{1,255}$/.test(host) ? host : "localhost";
}

function repositories({ store }: ServerParts, who: Identity, last: string): Response {
  const found = store.names.list(last, rowsMax);
  const rows = found
    .filter((name) => who.may(name, "pull"))
    .map((name) => {
      const id = store.names.find(name)!;
      const { tags: count, movedMs } = store.names.summary(id);
      return [
        html`<a href="${link({ repository: name })}">${name}</a>`,
        String(count),
        size(store.blobs.sizeOf(id)),
        movedMs === null ? "" : time(movedMs),
      ];
    });
  const columns = ["Name", { number: "Tags" }, { number: "Size" }, "Last set (UTC)"];
  const body =
    rows.length > 0
      ? table(undefined, columns, rows)
      : html`<section class="card"><p>There is nothing here that you may see.</p></section>`;
  return page(who.name, { title: "Repositories", body: html`${body}${next(found, {})}` });
}

type Place = { readonly who: Identity; readonly name: string; readonly repository: RepositoryId };

function tags({ store }: ServerParts, { who, name, repository, last }: Place & { last: string }) {
  const found = store.names.tags(repository, last, rowsMax);
  const rows = found.flatMap((tag) => {
    const tagged = store.names.tagged(repository, tag);
    if (!tagged) return [];
    const { digest, movedMs } = tagged;
    const to = link({ repository: name, reference: tag });
    const bytes = store.manifests.sizeOf(repository, digest);
    return [[html`<a href="${to}">${tag}</a>`, size(bytes), short(digest), time(movedMs)]];
  });
  const columns = ["Tag", { number: "Size" }, "Digest", "Set (UTC)"];
  const body =
    rows.length > 0
      ? table(undefined, columns, rows)
      : html`<section class="card"><p>It has no tags.</p></section>`;
  const path = html`<a href="/">Repositories</a> /`;
  return page(who.name, {
    title: name,
    path,
    body: html`${body}${next(found, { repository: name })}`,
  });
}

async function manifest(
  { store }: ServerParts,
  { who, name, repository, reference, host }: Place & { reference: string; host: string },
): Promise<Response> {
  const at = parseManifestReference(reference);
  const row = findManifest(store, repository, at);
  if (!row) throw new Refusal("MANIFEST_UNKNOWN", `There is no "${reference}" in ${name}`);
  const shown = await showManifest(store, { name, repository, row, at, host });
  const body = html`${shown}${who.may(name, "delete") ? remove(at) : html``}`;
  const path = html`<a href="/">Repositories</a> / <a href="${link({ repository: name })}">${name}</a> /`;
  return page(who.name, { title: "tag" in at ? at.tag : reference.slice(0, 19), path, body });
}

function remove(at: { tag: string } | { digest: Digest }): Html {
  const [what, how] =
    "tag" in at
      ? [`Delete tag ${at.tag}`, "The image stays, and undo brings the tag back."]
      : ["Delete this manifest and its tags", "It can be brought back for a while."];
  return html`<section class="card"><details><summary>Delete…</summary>
<form method="post"><button>${what}</button><span class="soft">${how}</span></form></details></section>`;
}

/** The form of the page itself; other sites' forms are refused by their Origin. */
function deleteOne(parts: ServerParts, call: Call): Response {
  const [name, reference] = [call.query.get("repository") ?? "", call.query.get("reference") ?? ""];
  open(parts, call.who, name);
  if (!call.who.may(name, "delete")) throw new Refusal("DENIED", `You may not delete in ${name}`);
  const at = parseManifestReference(reference);
  const who = { ...call.who, name: call.who.name || anonymousName };
  deleteManifest(parts, { name, reference, at }, { ...call, who });
  return new Response(null, { status: 303, headers: { Location: link({ repository: name }) } });
}

function next(found: readonly string[], fields: Record<string, string>): Html {
  if (found.length < rowsMax) return html``;
  return html`<p><a href="${link({ ...fields, last: found.at(-1)! })}">More</a></p>`;
}
