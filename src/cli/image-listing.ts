/** How an image looks in `images`: one row for each of its names. */
import type { ImageSummary } from "../api/schema.ts";
import { ago, goTime, humanSize, shortId } from "./human.ts";
import { defineListing } from "./listing.ts";
import { splitReference } from "./reference.ts";

/** An image under one of its names. */
export interface NamedImage {
  readonly image: ImageSummary;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

const none = "<none>";

/** The rows of `images`: tags, with the digest of their repository when digests are asked for. */
export function namedImages(images: readonly ImageSummary[], hasDigests: boolean): NamedImage[] {
  return images.flatMap((image) => {
    const tags = (image.RepoTags ?? []).filter((name) => name !== "<none>:<none>");
    const digests = (image.RepoDigests ?? []).filter((name) => name !== "<none>@<none>");
    const digestsOf = new Map<string, string[]>();
    for (const name of digests) {
      const [repository = "", digest = none] = name.split("@");
      digestsOf.set(repository, [...(digestsOf.get(repository) ?? []), digest]);
    }
    const rows: NamedImage[] = [];
    const tagged = new Set<string>();
    for (const name of tags) {
      const { name: repository, tag = none } = splitReference(name);
      tagged.add(repository);
      const known = hasDigests ? (digestsOf.get(repository) ?? [none]) : [none];
      for (const digest of known) rows.push({ image, repository, tag, digest });
    }
    for (const [repository, known] of digestsOf) {
      if (tagged.has(repository)) continue;
      const shown = hasDigests ? known : known.slice(0, 1);
      for (const digest of shown) rows.push({ image, repository, tag: none, digest });
    }
    if (rows.length === 0) rows.push({ image, repository: none, tag: none, digest: none });
    return rows;
  });
}

export function imageListing({ isWhole, hasDigests }: { isWhole: boolean; hasDigests: boolean }) {
  const size = (bytes: number) => (bytes < 0 ? "N/A" : humanSize(bytes, 4));
  return defineListing<NamedImage>({
    typeName: "*formatter.imageContext",
    complaint: "template parsing error",
    columns: hasDigests
      ? ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
      : ["Repository", "Tag", "ID", "CreatedSince", "Size"],
    fields: {
      ID: { heading: "IMAGE ID", value: ({ image }) => (isWhole ? image.Id : shortId(image.Id)) },
      Repository: { heading: "REPOSITORY", value: ({ repository }) => repository },
      Tag: { heading: "TAG", value: ({ tag }) => tag },
      Digest: { heading: "DIGEST", value: ({ digest }) => digest },
      CreatedSince: { heading: "CREATED", value: ({ image }) => ago(image.Created) },
      CreatedAt: { heading: "CREATED AT", value: ({ image }) => goTime(image.Created) },
      Size: { heading: "SIZE", value: ({ image }) => humanSize(image.Size) },
      Containers: {
        heading: "CONTAINERS",
        value: ({ image }) => (image.Containers < 0 ? "N/A" : String(image.Containers)),
      },
      VirtualSize: { heading: "SIZE", value: ({ image }) => humanSize(image.Size, 4) },
      SharedSize: { heading: "SHARED SIZE", value: ({ image }) => size(image.SharedSize) },
      UniqueSize: {
        heading: "UNIQUE SIZE",
        value: ({ image }) =>
          image.SharedSize < 0 ? "N/A" : humanSize(image.Size - image.SharedSize, 4),
      },
    },
  });
}
