import { expect, test } from "bun:test";
import { joinTars } from "./join.ts";
import { readTar } from "./read.ts";
import { writeTar } from "./write.ts";

async function* tarOf(path: string, text: string, step: number) {
  const body = Buffer.from(text);
  const parts: Uint8Array[] = [];
  const entry = { header: { path, sizeBytes: body.length }, body };
  for await (const part of writeTar([entry])) parts.push(Buffer.from(part));
  const all = Buffer.concat(parts);
  for (let at = 0; at < all.length; at += step) yield all.subarray(at, at + step);
}

test("joinTars() makes one archive of several, wherever their chunks end", async () => {
  for (const step of [100, 512, 100_000]) {
    const tars = ["one", "", "three"].map((text, at) => () => tarOf(`f${at}`, text, step));
    const found: string[] = [];
    for await (const { header, body } of readTar(joinTars(tars))) {
      let text = "";
      for await (const bytes of body) text += Buffer.from(bytes).toString();
      found.push(`${header.path}=${text}`);
    }
    expect(found).toEqual(["f0=one", "f1=", "f2=three"]);
  }
});
