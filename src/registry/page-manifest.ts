import { limits } from "../base/mod.ts";
import {
  type Descriptor,
  type Digest,
  formatPlatform,
  type ImageConfig,
  isImageConfigType,
  type Manifest,
  parseImageConfig,
  parseManifestOrIndex,
} from "../oci/mod.ts";
import { Html, html, link, short, size, table, time } from "./page-html.ts";
import type { ManifestReference } from "./protocol.ts";
import type { ManifestRow } from "./store-manifests.ts";
import type { RepositoryId } from "./store-names.ts";
import type { RegistryStore } from "./store-open.ts";

const rowsMax = 500;
const movesMax = 50;
const commandCharactersMax = 400;

export interface ShownManifest {
  readonly name: string;
  readonly repository: RepositoryId;
  readonly row: ManifestRow;
  readonly at: ManifestReference;
  /** What the reader reaches the registry by. */
  readonly host: string;
}

/** A manifest for people: how to pull it, what is in it, what refers to it, where its tag has been. */
export async function showManifest(store: RegistryStore, shown: ShownManifest): Promise<Html> {
  const { name, repository, row, at, host } = shown;
  const parsed = parseManifestOrIndex(await store.manifests.bytes(row.digest));
  const content =
    "index" in parsed
      ? platforms(store, shown, parsed.index.manifests)
      : await image(store, parsed.manifest);
  const attached = store.manifests.referrers(repository, row.digest, {
    ...{ artifactType: null, last: "", countMax: rowsMax },
  });
  const reference = "tag" in at ? `:${at.tag}` : `@${at.digest}`;
  const history = "tag" in at ? moves(store, { name, repository, tag: at.tag }) : html``;
  return html`<section class="card"><pre>docker pull ${host}/${name}${reference}</pre>
<dl>${facts([
    ["Digest", html`<code>${row.digest}</code>`],
    ["Type", row.mediaType],
    ["Artifact", isImageConfigType(row.artifactType ?? "") ? "" : (row.artifactType ?? "")],
    ["Size", size(store.manifests.sizeOf(repository, row.digest))],
    ["Pushed (UTC)", time(row.pushedMs)],
    ["Refers to", row.subject === null ? "" : toManifest(name, row.subject)],
  ])}</dl></section>${content}${referrers(name, attached)}${history}`;
}

/** Those that say something. */
function facts(all: readonly (readonly [string, string | Html])[]): Html[] {
  return all
    .filter(([, value]) => value !== "")
    .map(([of, value]) => html`<dt>${of}</dt><dd>${value}</dd>`);
}

function toManifest(name: string, digest: Digest, text: string | Html = short(digest)): Html {
  return html`<a href="${link({ repository: name, reference: digest })}">${text}</a>`;
}

function platforms(
  store: RegistryStore,
  { name, repository }: ShownManifest,
  children: readonly Descriptor[],
): Html {
  const rows = children.slice(0, rowsMax).map(({ digest, platform, mediaType, annotations }) => {
    const kind = annotations?.["vnd.docker.reference.type"];
    const what = kind ?? (platform ? formatPlatform(platform) : mediaType);
    const bytes = store.manifests.sizeOf(repository, digest);
    return [toManifest(name, digest, what), size(bytes), short(digest)];
  });
  return table(html`Platforms`, ["Platform", { number: "Size" }, "Digest"], rows);
}

async function image(store: RegistryStore, manifest: Manifest): Promise<Html> {
  const config = await configOf(store, manifest);
  const commands = (config?.history ?? []).filter((entry) => !entry.empty_layer);
  const largest = Math.max(1, ...manifest.layers.map((layer) => layer.size));
  const rows = manifest.layers
    .slice(0, rowsMax)
    .map((layer, at) => [
      String(at + 1),
      html`<code>${(commands[at]?.created_by ?? layer.mediaType).slice(0, commandCharactersMax)}</code>`,
      html`${size(layer.size)}${bar(layer.size / largest)}`,
      short(layer.digest),
    ]);
  const sum = size(manifest.layers.reduce((total, layer) => total + layer.size, 0));
  const title = html`Layers <span>${manifest.layers.length}, ${sum}</span>`;
  const columns = ["#", "Made by", { number: "Size" }, "Digest"];
  return html`${config ? settings(config) : html``}${table(title, columns, rows)}`;
}

/** How large beside the largest. */
function bar(part: number): Html {
  const width = Math.max(1, Math.round(part * 100));
  return new Html(
    `<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="${width}" height="1"/></svg>`,
  );
}

/** The image's config; undefined when it is another artifact's, is absent or cannot be read. */
async function configOf(
  { content }: RegistryStore,
  { config }: Manifest,
): Promise<ImageConfig | undefined> {
  if (!isImageConfigType(config.mediaType) || config.size > limits.configBytesMax) return undefined;
  try {
    return parseImageConfig(await content.bytes(config.digest, limits.configBytesMax));
  } catch {
    return undefined; // whoever pulls it is told why; here, the rest is shown
  }
}

function settings({ config, created, ...platform }: ImageConfig): Html {
  const words = (list: readonly string[] | null | undefined) =>
    list?.length ? html`<code>${list.join(" ").slice(0, commandCharactersMax)}</code>` : "";
  const ports = Object.keys(config?.ExposedPorts ?? {});
  const labels = Object.entries(config?.Labels ?? {}).slice(0, rowsMax);
  const all = facts([
    ["Platform", formatPlatform(platform)],
    [
      "Created",
      created === undefined || created.startsWith("0001")
        ? ""
        : created.slice(0, 19).replace("T", " "),
    ],
    ["Entrypoint", words(config?.Entrypoint)],
    ["Command", words(config?.Cmd)],
    ["User", config?.User ?? ""],
    ["Ports", ports.slice(0, rowsMax).join(", ")],
    [
      "Labels",
      labels.length === 0
        ? ""
        : html`${labels.map(([key, value]) => html`<code>${key}=${value}</code><br>`)}`,
    ],
  ]);
  return html`<section class="card"><h2>Image</h2><dl>${all}</dl></section>`;
}

function referrers(name: string, attached: readonly ManifestRow[]): Html {
  if (attached.length === 0) return html``;
  const rows = attached.map(({ digest, artifactType, mediaType, pushedMs }) => [
    toManifest(name, digest, artifactType ?? mediaType),
    short(digest),
    time(pushedMs),
  ]);
  return table(html`Attached to it`, ["Type", "Digest", "Pushed (UTC)"], rows);
}

function moves(
  store: RegistryStore,
  { name, repository, tag }: { name: string; repository: RepositoryId; tag: string },
): Html {
  const rows = store.names.moves(repository, tag, movesMax).map(({ atMs, who, digest }) => {
    const isHere = digest !== null && store.manifests.find(repository, digest) !== undefined;
    const shown = digest === null ? "removed" : isHere ? toManifest(name, digest) : short(digest);
    return [time(atMs), who, shown];
  });
  return table(html`Where the tag has been`, ["Set (UTC)", "By", "To"], rows);
}
