/** What the owner of the registry allows, beyond who may do what. */
export interface Policy {
  /** Bytes that one more blob of a repository may have; `usedBytes` says how many are there. */
  blobBytesMax(repository: string, usedBytes: () => number): number;
  /** True for a tag that never moves once it is set. */
  isImmutable(repository: string, tag: string): boolean;
}

export const defaultPolicy: Policy = {
  blobBytesMax: () => 64 * 2 ** 30,
  isImmutable: () => false,
};
