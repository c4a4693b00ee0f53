/** Compresses pieces: plain bytes in, a gzip member or a zstd frame out. See gzip-pool.ts. */
declare const self: Worker;

interface Task {
  readonly piece: Uint8Array<ArrayBuffer>;
  readonly how: "gzip" | "zstd";
  /** Part of digests. */
  readonly level: number;
}

self.onmessage = ({ data }: MessageEvent<Task>) => {
  const { piece } = data;
  const packed = compress(data);
  const isAlone = packed.buffer.byteLength === packed.length;
  const member = isAlone ? packed : new Uint8Array(packed);
  // The piece goes back to be filled again.
  self.postMessage({ member, piece }, [member.buffer, piece.buffer]);
};

function compress({ piece, how, level }: Task): Uint8Array<ArrayBuffer> {
  if (how === "zstd") return new Uint8Array(Bun.zstdCompressSync(piece, { level }));
  return Bun.gzipSync(piece, { level: level as 2, library: "libdeflate" });
}
