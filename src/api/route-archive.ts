/** The endpoints that move files in and out of containers. */
import { Failure } from "../base/mod.ts";
import type { PathStat } from "../engine/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { flag } from "./query.ts";
import type { Route } from "./router.ts";

const tarType = "application/x-tar";

function pathOf(exchange: Exchange): string {
  const path = exchange.query.get("path") ?? "";
  if (path === "") throw new Failure("invalid", `bad parameter: "path" cannot be empty`);
  if (path.includes("\0")) throw new Failure("invalid", `bad parameter: "path" has a NUL byte`);
  return path;
}

function statHeader(stat: PathStat): string {
  const text = Buffer.from(JSON.stringify(stat)).toString("base64");
  return `X-Docker-Container-Path-Stat: ${text}\r\n`;
}

async function stat(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const found = await engine.statPath(engine.resolve(name).id, pathOf(exchange));
  exchange.empty(200, statHeader(found));
}

async function read(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { id } = engine.resolve(name);
  const { stat: found, tar } = await engine.readArchive(id, pathOf(exchange));
  const output = exchange.stream(200, tarType, statHeader(found));
  for await (const bytes of tar) await output.write(bytes);
}

async function write(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const { query } = exchange;
  const { id } = engine.resolve(name);
  await engine.writeArchive(id, pathOf(exchange), exchange.body(), {
    noOverwriteDirNonDir: flag(query, "noOverwriteDirNonDir"),
    copyUidGid: flag(query, "copyUIDGID"),
  });
  exchange.empty(200);
}

async function exportTar(
  exchange: Exchange,
  { engine }: Context,
  [name = ""]: readonly string[],
): Promise<void> {
  const tar = engine.export(engine.resolve(name).id);
  await sendTar(exchange, tar);
}

/** Streams a tar; what fails before its first byte still gets a status. */
export async function sendTar(exchange: Exchange, tar: AsyncIterable<Uint8Array>): Promise<void> {
  const reader = tar[Symbol.asyncIterator]();
  try {
    let next = await reader.next();
    const output = exchange.stream(200, tarType);
    while (!next.done) {
      await output.write(next.value);
      next = await reader.next();
    }
  } finally {
    await reader.return?.();
  }
}

export const routes: readonly Route[] = [
  ["HEAD", "/containers/{id}/archive", stat],
  ["GET", "/containers/{id}/archive", read],
  ["PUT", "/containers/{id}/archive", write],
  ["GET", "/containers/{id}/export", exportTar],
];
