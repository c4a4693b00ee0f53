import { resolveUser } from "../runtime/mod.ts";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export const rootOwner: Owner = { uid: 0, gid: 0 };

/** Owner for `--chown=user[:group]`: a number without a group is both, as in Docker. */
export function ownerIn(root: string, text: string): Owner | undefined {
  if (text === "") return undefined;
  const { uid, gid } = resolveUser(root, text);
  return /^\d+$/.test(text) ? { uid, gid: uid } : { uid, gid };
}
