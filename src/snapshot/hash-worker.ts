/** The thread that hashes what `stream-hash.ts` puts into the ring, slot by slot. */
import { endMark, type HashRing, ringWords, slotBytes, slotCount } from "./stream-hash.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<HashRing>) => {
  const { control } = data;
  const bytes = new Uint8Array(data.bytes);
  const hasher = new Bun.CryptoHasher("sha256");
  for (let emptied = 0; ; ) {
    while (Atomics.load(control, ringWords.filled) === emptied) {
      Atomics.wait(control, ringWords.filled, emptied);
    }
    const slot = emptied % slotCount;
    const size = control[ringWords.sizes + slot]!;
    const isLast = size === endMark;
    if (isLast) new Uint8Array(data.digest).set(hasher.digest());
    else hasher.update(bytes.subarray(slot * slotBytes, slot * slotBytes + size));
    emptied++;
    Atomics.store(control, ringWords.emptied, emptied);
    Atomics.notify(control, ringWords.emptied);
    if (isLast) return;
  }
};
