/** The Dockerfile and its context: the client's folders, what it uploads, or what an address names. */
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import type { BuildRequest } from "../build/mod.ts";
import { readTexts, type Wish } from "./filesync.ts";
import { bringParts } from "./parts.ts";
import { readUpload, uploadOf } from "./session.ts";
import type { Solve } from "./solve.ts";

/** Of a Dockerfile, or of its ignore rules. */
const sizeBytesMax = 16 << 20;

interface Bring {
  readonly request: Pick<BuildRequest, "buildArgs">;
  readonly bring: (wish: Wish) => Promise<Pick<BuildRequest, "contextPath" | "listed">>;
  readonly cleanup: AsyncDisposableStack;
}
type Source = Pick<BuildRequest, "contextPath" | "dockerfile" | "listed"> &
  Partial<Pick<BuildRequest, "commitSeconds">>;

/** @throws Failure "not_found" — no Dockerfile; or as the client, or the place elsewhere, fails */
export async function bringSource(asked: Solve, how: Bring): Promise<Source> {
  const { attributes, progress } = asked;
  const path = posix.normalize(attributes.get("filename") || "Dockerfile");
  if (asked.contextPath !== undefined) {
    return { contextPath: asked.contextPath, dockerfile: { path } };
  }
  const remote = attributes.get("context") ?? "";
  if (remote !== "" && !remote.startsWith("local:")) {
    return await bringRemote(asked, { ...how, remote, path });
  }
  const folder = attributes.get("contextkey") ?? "context";
  const [text, ignore] = await progress.track(
    `[internal] load build definition from ${path}`,
    async () => {
      const found = await bringDockerfile(asked, path);
      return [found.text, found.ignore ?? (await bringIgnore(asked, folder))] as const;
    },
  );
  const context = await progress.track("[internal] load build context", () =>
    how.bring({ folder, exclude: ignoreLines(ignore) }),
  );
  return { ...context, dockerfile: { text, path, ignore } };
}

/** The client's Dockerfile, and the ignore rules that are its alone. */
async function bringDockerfile({ attributes, session, signal }: Solve, path: string) {
  const folder = attributes.get("dockerfilekey") ?? "dockerfile";
  const own = `${path}.dockerignore`;
  // As in Docker: the name may be written in lower case.
  const include = [path, own, path.toLowerCase()];
  const texts = await readTexts(session, { folder, include, sizeBytesMax }, signal);
  const text = texts.get(path) ?? texts.get(path.toLowerCase());
  if (text !== undefined) return { text, ignore: texts.get(own) };
  const reason = "no such file or directory";
  throw new Failure("not_found", `failed to read dockerfile: open ${path}: ${reason}`);
}

async function bringIgnore({ session, signal }: Solve, folder: string): Promise<string> {
  const wish = { folder, include: [".dockerignore"], sizeBytesMax };
  return (await readTexts(session, wish, signal)).get(".dockerignore") ?? "";
}

/** The patterns of a `.dockerignore`, cleaned as the client's matcher wants them. */
function ignoreLines(text: string): string[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  return lines.flatMap((line) => {
    const pattern = line.startsWith("#") ? "" : line.trim();
    if (pattern === "") return [];
    const isException = pattern.startsWith("!");
    const path = posix.normalize(isException ? pattern.slice(1).trim() : pattern);
    const clean = path.replace(/^\/+/, "").replace(/(.)\/$/, "$1");
    return [isException ? `!${clean}` : clean];
  });
}

async function bringRemote(
  asked: Solve,
  { remote, path, request, cleanup }: Bring & { remote: string; path: string },
): Promise<Source> {
  const { attributes, progress } = asked;
  const taken = await progress.track(`[internal] load remote build context`, () =>
    fetchAddress(asked, remote, request),
  );
  cleanup.use(taken);
  const subfolder = posix.normalize(`/${attributes.get("contextsubdir") ?? ""}`);
  const { commitSeconds } = taken;
  const times = commitSeconds === undefined ? {} : { commitSeconds };
  const dockerfile = attributes.has("dockerfilekey")
    ? { text: (await bringDockerfile(asked, path)).text, path }
    : (taken.dockerfile ?? { path });
  return { contextPath: posix.join(taken.path, subfolder), dockerfile, ...times };
}

/** What stands at an address, with the client's tokens and keys; or what it uploads on its session. */
export async function fetchAddress(
  { builder, session, signal }: Pick<Solve, "builder" | "session" | "signal">,
  address: string,
  { buildArgs }: Pick<BuildRequest, "buildArgs">,
): ReturnType<Solve["builder"]["fetchContext"]> {
  const upload = uploadOf(address);
  if (upload !== undefined) {
    return await builder.takeContext(readUpload(session, upload, signal), signal);
  }
  const parts = await bringParts(session, { text: address });
  return await builder.fetchContext(address, { buildArgs, ...parts, signal });
}
