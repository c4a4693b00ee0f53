import type { RegistryConfig } from "./config.ts";
import { compileGlobs } from "./glob.ts";

/** What the owner of the registry allows, beyond who may do what. */
export interface Policy {
  /** Bytes that one more blob of a repository may have; `usedBytes` says how many are there. */
  blobBytesMax(repository: string, usedBytes: () => number): number;
  /** True for a tag that never moves once it is set. */
  isImmutable(repository: string, tag: string): boolean;
}

const blobBytesMax = 64 * 2 ** 30;

export const defaultPolicy: Policy = {
  blobBytesMax: () => blobBytesMax,
  isImmutable: () => false,
};

/** The configuration's quotas and immutable tags. Of several quotas that match the least counts. */
export function compilePolicy(config: RegistryConfig): Policy {
  const perBlob = config.limits.blobBytesMax ?? blobBytesMax;
  const quotas = config.quotas.map(({ repositories, bytesMax }) => ({
    matches: compileGlobs(repositories),
    bytesMax,
  }));
  const immutable = config.immutable.map(({ repositories, tags }) => ({
    inRepository: compileGlobs(repositories),
    isTag: compileGlobs(tags),
  }));
  return {
    blobBytesMax(repository, usedBytes) {
      const mine = quotas.filter(({ matches }) => matches(repository));
      if (mine.length === 0) return perBlob;
      const bytesMax = Math.min(...mine.map((quota) => quota.bytesMax));
      return Math.max(0, Math.min(perBlob, bytesMax - usedBytes()));
    },
    isImmutable: (repository, tag) =>
      immutable.some((rule) => rule.inRepository(repository) && rule.isTag(tag)),
  };
}
