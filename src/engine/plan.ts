import type { Digest } from "../oci/mod.ts";

/** A mount as `create` settled it; at each start it becomes a mount of the runtime. */
export type MountPlan =
  | {
      readonly kind: "bind";
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly propagation: string;
      readonly recursive: boolean;
      readonly readOnlyRecursive: boolean;
      readonly createSource: boolean;
      readonly mode: string;
      /** As `checkIdMap` takes it. */
      readonly idMap?: string;
    }
  | {
      readonly kind: "volume";
      readonly name: string;
      /** "" for the local one, or for that of a volume which is there. */
      readonly driver: string;
      readonly target: string;
      readonly readOnly: boolean;
      /** Copy what the image has at the target into the volume when that is empty. */
      readonly copy: boolean;
      readonly subpath: string;
      /** Made for this container alone: `rm --volumes` and `--rm` delete it. */
      readonly anonymous: boolean;
      readonly labels: Readonly<Record<string, string>>;
      readonly options: Readonly<Record<string, string>>;
      readonly mode: string;
      /** As `checkIdMap` takes it. */
      readonly idMap?: string;
    }
  | { readonly kind: "tmpfs"; readonly target: string; readonly options: readonly string[] }
  | {
      readonly kind: "image";
      readonly source: string;
      readonly image: Digest;
      /** Key of the snapshot that is mounted. */
      readonly key: string;
      readonly target: string;
      readonly subpath: string;
    };
