/**
 * Gives back the memory of a chunk that nobody uses any more, nor any other view of it. The collector of
 * garbage would come to it by itself, but late: it does not see how much lies outside of its heap.
 */
export function release({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
