import type { Database } from "bun:sqlite";
import { Gate } from "../base/mod.ts";
import type { ContentStore } from "../content/mod.ts";
import { type Digest, type Platform, parseReference } from "../oci/mod.ts";
import {
  type Credentials,
  openRegistryClient,
  type RegistrySettings,
  type Repository,
} from "../registry/mod.ts";
import type { SnapshotStore } from "../snapshot/mod.ts";
import { keepMade, type MadeImage } from "./built.ts";
import { Downloads } from "./download.ts";
import { Origins } from "./origins.ts";
import { pull, type Transfer } from "./pull.ts";
import { push } from "./push.ts";
import { describeRemote, type Found, type Remote, searchRemote } from "./remote.ts";
import { openSqliteStore } from "./store.ts";
import { Store } from "./transfer-store.ts";
import type { Image, ImageStore, Report } from "./types.ts";

const uploadsAtOnceDefault = 5;

interface Options {
  readonly credentials: Credentials;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** The ways between this store and registries. */
export interface Transfers {
  /**
   * Brings an image; a name without tag and digest brings all tags. Gives the (last) image.
   * @throws Failure in Docker's words: "not_found" also where access is denied, as there
   */
  pull(reference: string, options: Options & { readonly platform?: Platform }): Promise<Image>;
  /** Sends the image that has the name; a name without tag sends all tags of the repository. */
  push(reference: string, options: Options & { readonly platform?: Platform }): Promise<void>;
  /** Stores an image that was made here with manifests of its own. */
  keep(made: MadeImage): Promise<Image>;
  /** An image that was stored plainly is in no index any more. */
  forgetIndex(id: Digest): void;
  /** The repository of a name, to push to. */
  repository(reference: string, credentials: Credentials): Repository;
  /** What a name stands for in its registry, without pulling it. */
  describe(reference: string, options: Omit<Options, "report">): Promise<Remote>;
  search(
    term: string,
    options: Omit<Options, "report"> & { readonly limit: number },
  ): Promise<Found[]>;
  /** Shows credentials to the registry of this name. @throws "denied" */
  login(
    domain: string,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<{ identityToken: string }>;
  /** What is known of registries beforehand, from now on. */
  reload(registries: RegistrySettings): void;
  /** How many layers travel at a time, from now on. */
  limit(atOnce: { readonly downloads: number; readonly uploads: number }): void;
}

/** Opens the image store and the ways to registries. `directory` is `image/` under the data root. */
export async function openImages(options: {
  database: Database;
  content: ContentStore;
  snapshots: SnapshotStore;
  directory: string;
  registries?: RegistrySettings;
}): Promise<{ images: ImageStore; transfers: Transfers }> {
  const { database, content, directory, registries } = options;
  const images = openSqliteStore(options);
  const origins = new Origins(database);
  images.keepAlso(() => origins.kept());
  const client = openRegistryClient(registries);
  const transfer: Transfer = {
    store: new Store(images.inner(), origins),
    client,
    uploads: new Gate(uploadsAtOnceDefault),
    downloads: await Downloads.open(`${directory}/partial`, content),
    origins,
    directory,
  };
  return {
    images,
    transfers: {
      pull: (reference, how) => pull(transfer, reference, how),
      push: (reference, how) => push(transfer, reference, how),
      keep: (made) => keepMade(transfer, made),
      forgetIndex: (id) => origins.setIndex(id, undefined),
      repository: (reference, credentials) =>
        client.repository(parseReference(reference), { credentials, push: true }),
      describe: (reference, how) => describeRemote(client, reference, how),
      search: (term, how) => searchRemote(client, term, how),
      login: (domain, credentials, signal) => client.login(domain, credentials, signal),
      reload: (next) => client.reload(next),
      limit: ({ downloads, uploads }) => {
        transfer.downloads.limit(downloads);
        transfer.uploads.resize(uploads);
      },
    },
  };
}
