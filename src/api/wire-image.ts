/** Images as the wire has them. */
import type { HistoryRow, Image } from "../image/mod.ts";
import type { DriverData, HistoryItem, ImageInspect, ImageSummary } from "./schema.ts";

const secondsOf = (time: string | undefined) => {
  const ms = time === undefined ? 0 : Date.parse(time);
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
};

/** Shared size and containers are -1 unless they were reckoned. */
export function imageSummary(
  image: Image,
  {
    minor,
    sharedBytes = -1,
    containers = -1,
  }: {
    minor: number;
    sharedBytes?: number;
    containers?: number;
  },
): ImageSummary {
  // Until 1.43 an image without names had this for one (docs/api/version-history.md).
  const isBare = minor < 43 && image.tags.length === 0 && image.repoDigests.length === 0;
  const tags = isBare ? ["<none>:<none>"] : image.tags;
  const digests = isBare ? ["<none>@<none>"] : image.repoDigests;
  return {
    Id: image.id,
    ParentId: image.parent ?? "",
    RepoTags: tags,
    RepoDigests: digests,
    Created: secondsOf(image.config.created),
    Size: image.sizeBytes,
    SharedSize: sharedBytes,
    Labels: image.config.config?.Labels ?? {},
    Containers: containers,
    ...(minor < 44 ? { VirtualSize: image.sizeBytes } : {}),
  };
}

/** Fields that clients read without asking whether they are there. */
const emptyImageConfig = {
  User: "",
  Env: null,
  Cmd: null,
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
};

/** Until 1.49 an image had the configuration of a container (docs/api/version-history.md). */
const emptyConfig = {
  Hostname: "",
  Domainname: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: "",
  ...emptyImageConfig,
};

export function imageInspect(
  image: Image,
  { graph, minor }: { graph: DriverData; minor: number },
): ImageInspect {
  const { config } = image;
  const history = config.history ?? [];
  // docker-compose 1 finds the volumes that a new container takes over from the old one here.
  const containerConfig = { Container: "", ContainerConfig: { ...emptyConfig, ...config.config } };
  return {
    Id: image.id,
    RepoTags: image.tags,
    RepoDigests: image.repoDigests,
    Parent: image.parent ?? "",
    Comment: history.at(-1)?.comment ?? "",
    ...(config.created === undefined ? {} : { Created: config.created }),
    DockerVersion: "",
    Author: config.author ?? "",
    ...(minor < 45 ? containerConfig : {}),
    Config: { ...(minor < 50 ? emptyConfig : emptyImageConfig), ...config.config },
    Architecture: config.architecture,
    ...(config.variant ? { Variant: config.variant } : {}),
    Os: config.os,
    ...(config["os.version"] ? { OsVersion: config["os.version"] } : {}),
    Size: image.sizeBytes,
    ...(minor < 44 ? { VirtualSize: image.sizeBytes } : {}),
    GraphDriver: graph,
    RootFS: { Type: "layers", Layers: config.rootfs.diff_ids },
    Metadata: {
      LastTagTime:
        image.lastTaggedMs > 0
          ? new Date(image.lastTaggedMs).toISOString()
          : "0001-01-01T00:00:00Z",
    },
  };
}

export function historyItem({ id, entry, sizeBytes, tags }: HistoryRow): HistoryItem {
  return {
    Id: id ?? "<missing>",
    Created: secondsOf(entry.created),
    CreatedBy: entry.created_by ?? "",
    Tags: tags.length > 0 ? tags : null,
    Size: sizeBytes,
    Comment: entry.comment ?? "",
  };
}
