import { type Descriptor, type Digest, formatPlatform, parseManifestOrIndex } from "../oci/mod.ts";
import { type Asking, anonymousName, type Identity, openAccess } from "./access.ts";
import { type Html, html, page, size, time } from "./page-html.ts";
import { isRepositoryName, parseManifestReference } from "./protocol.ts";
import { Refusal, toRefusal } from "./refusal.ts";
import type { Call } from "./server-call.ts";
import { deleteManifest, findManifest } from "./server-manifests.ts";
import type { ServerParts } from "./server-protocol.ts";
import type { ManifestRow } from "./store-manifests.ts";
import type { RepositoryId } from "./store-names.ts";

const rowsMax = 500;
const movesMax = 50;

/** The registry for people: `/`, `/?repository=a`, `/?repository=a&reference=v1`. POST deletes. */
export async function answerPage(parts: ServerParts, asked: Omit<Call, "who">): Promise<Response> {
  const { request, query } = asked;
  let who: Identity = { name: "anonymous", may: () => false };
  try {
    who = await identify(parts, asked, query.has("login"));
    const name = query.get("repository");
    if (request.method === "POST") return deleteOne(parts, { ...asked, who });
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new Refusal("UNSUPPORTED", `Cannot ${request.method} a page`);
    }
    if (name === null) return repositories(parts, who, query.get("last") ?? "");
    const repository = open(parts, who, name);
    const reference = query.get("reference");
    if (reference === null)
      return tags(parts, { who, name, repository, last: query.get("last") ?? "" });
    return await manifest(parts, { who, name, repository, reference });
  } catch (error) {
    const refusal = toRefusal(error, { invalid: "MANIFEST_UNKNOWN" });
    if (refusal.wire === "UNKNOWN") throw error;
    const answer = page(
      refusal.message,
      who.name,
      html`<p>${refusal.hint ?? ""}</p>`,
      refusal.status,
    );
    if (refusal.status === 401)
      answer.headers.set("WWW-Authenticate", 'Basic realm="Lading registry"');
    return answer;
  }
}

async function identify({ access }: ServerParts, asking: Asking, mustLogIn: boolean) {
  const who = await access.identify(asking);
  if (access === openAccess) return { ...who, name: "" }; // nobody can log in
  if (mustLogIn && who.name === "anonymous" && !asking.request.headers.has("Authorization")) {
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

function repositories({ store }: ServerParts, who: Identity, last: string): Response {
  const found = store.names.list(last.slice(0, 256), rowsMax);
  const rows = found
    .filter((name) => who.may(name, "pull"))
    .map((name) => {
      const bytes = store.blobs.sizeOf(store.names.find(name)!);
      return html`<tr><td><a href="${link({ repository: name })}">${name}</a></td><td class="n">${size(bytes)}</td></tr>`;
    });
  return page(
    "Repositories",
    who.name,
    html`<table><tr><th>Name</th><th class="n">Size</th></tr>${rows}</table>${next(found, {})}`,
  );
}

type Place = { readonly who: Identity; readonly name: string; readonly repository: RepositoryId };

function tags({ store }: ServerParts, { who, name, repository, last }: Place & { last: string }) {
  const found = store.names.tags(repository, last.slice(0, 256), rowsMax);
  const rows = found.flatMap((tag) => {
    const tagged = store.names.tagged(repository, tag);
    if (!tagged) return [];
    const to = link({ repository: name, reference: tag });
    return html`<tr><td><a href="${to}">${tag}</a></td><td><code>${short(tagged.digest)}</code></td><td>${time(tagged.movedMs)}</td></tr>`;
  });
  const body = html`<table><tr><th>Tag</th><th>Digest</th><th>Set (UTC)</th></tr>${rows}</table>`;
  return page(name, who.name, html`${body}${next(found, { repository: name })}`);
}

async function manifest(
  parts: ServerParts,
  { who, name, repository, reference }: Place & { reference: string },
): Promise<Response> {
  const { store } = parts;
  const at = parseManifestReference(reference);
  const row = findManifest(store, repository, at);
  if (!row) throw new Refusal("MANIFEST_UNKNOWN", `There is no "${reference}" in ${name}`);
  const parsed = parseManifestOrIndex(await store.manifests.bytes(row.digest));
  const content =
    "index" in parsed
      ? platforms(name, parsed.index.manifests)
      : layers([parsed.manifest.config, ...parsed.manifest.layers]);
  const attached = store.manifests.referrers(repository, row.digest, {
    ...{ artifactType: null, last: "", countMax: rowsMax },
  });
  const body = html`<p><code>${row.digest}</code><br>${row.mediaType}, pushed ${time(row.pushedMs)} UTC</p>
${content}${referrers(name, attached)}${"tag" in at ? history(parts, { repository, tag: at.tag }) : html``}
${who.may(name, "delete") ? remove(at) : html``}`;
  return page(`${name}${"tag" in at ? ":" : "@"}${reference}`, who.name, body);
}

function platforms(name: string, children: readonly Descriptor[]): Html {
  const rows = children.slice(0, rowsMax).map(({ digest, platform, mediaType }) => {
    const to = link({ repository: name, reference: digest });
    const what = platform ? formatPlatform(platform) : mediaType;
    return html`<tr><td><a href="${to}">${what}</a></td><td><code>${digest}</code></td></tr>`;
  });
  return html`<h2>Platforms</h2><table><tr><th>Platform</th><th>Manifest</th></tr>${rows}</table>`;
}

function layers(all: readonly Descriptor[]): Html {
  const rows = all.slice(0, rowsMax).map((part) => {
    const { digest, mediaType, size: bytes } = part;
    return html`<tr><td><code>${digest}</code></td><td>${mediaType}</td><td class="n">${size(bytes)}</td></tr>`;
  });
  const sum = size(all.reduce((total, part) => total + part.size, 0));
  return html`<h2>Config and layers, ${sum}</h2>
<table><tr><th>Digest</th><th>Type</th><th class="n">Size</th></tr>${rows}</table>`;
}

function referrers(name: string, attached: readonly ManifestRow[]): Html {
  if (attached.length === 0) return html``;
  const rows = attached.map(({ digest, artifactType, mediaType }) => {
    const to = link({ repository: name, reference: digest });
    return html`<tr><td><a href="${to}">${artifactType ?? mediaType}</a></td><td><code>${digest}</code></td></tr>`;
  });
  return html`<h2>Attached to it</h2><table><tr><th>Type</th><th>Manifest</th></tr>${rows}</table>`;
}

function history(
  { store }: ServerParts,
  { repository, tag }: { repository: RepositoryId; tag: string },
): Html {
  const rows = store.names.moves(repository, tag, movesMax).map(({ atMs, who, digest }) => {
    return html`<tr><td>${time(atMs)}</td><td>${who}</td><td><code>${digest ?? "removed"}</code></td></tr>`;
  });
  return html`<h2>Where the tag has been</h2>
<table><tr><th>Set (UTC)</th><th>By</th><th>To</th></tr>${rows}</table>`;
}

function remove(at: { tag: string } | { digest: Digest }): Html {
  const what = "tag" in at ? `Delete tag ${at.tag}` : "Delete this manifest and its tags";
  return html`<h2>Delete</h2><form method="post"><button>${what}</button></form>`;
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

function link(fields: Record<string, string>): string {
  return `/?${new URLSearchParams(fields)}`;
}

function short(digest: Digest): string {
  return digest.slice(0, "sha512:".length + 12);
}
