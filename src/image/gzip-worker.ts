/** Compresses pieces: plain bytes in, one member of a gzip out. Its level is part of digests: see gzip-pool.ts. */
declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<{ piece: Uint8Array<ArrayBuffer>; level: 2 }>) => {
  const { piece, level } = data;
  const member = Bun.gzipSync(piece, { level, library: "libdeflate" });
  // The piece goes back to be filled again.
  self.postMessage({ member, piece }, [member.buffer, piece.buffer]);
};
