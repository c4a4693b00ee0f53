import { dlopen, FFIType as T } from "bun:ffi";
import { readFileSync } from "node:fs";
import { check, libcPath } from "./libc.ts";

const { symbols } = dlopen(libcPath, {
  madvise: { args: [T.u64, T.u64, T.i32], returns: T.i32 },
});
const MADV_DONTNEED = 4;

/** The mappings of programs' and libraries' code in the text of proc_pid_maps(5): nobody writes to them. */
export function codeMappings(maps: string): { address: bigint; sizeBytes: bigint }[] {
  return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \d+ +\/.*$/gm)].map(
    ([, from, to]) => ({
      address: BigInt(`0x${from}`),
      sizeBytes: BigInt(`0x${to}`) - BigInt(`0x${from}`),
    }),
  );
}

/**
 * Takes the pages of this program's code out of its memory; what runs next brings its own back, at less than
 * 1 µs a page, from the kernel's cache of files. A process that has started never needs most of it again.
 * madvise(2), https://man7.org/linux/man-pages/man2/madvise.2.html
 */
export function dropCode(): void {
  for (const { address, sizeBytes } of codeMappings(readFileSync("/proc/self/maps", "latin1"))) {
    check("madvise", symbols.madvise(address, sizeBytes, MADV_DONTNEED), "code");
  }
}
