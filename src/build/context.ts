import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { type Ignore, ignoreBytesMax, parseIgnore } from "./ignore.ts";
import { dockerfileBytesMax } from "./lines.ts";
import { type Dockerfile, parsing } from "./parse.ts";
import { Root } from "./rooted.ts";
import { inSlices } from "./slices.ts";
import { nearest } from "./source.ts";
import type { BuildRequest } from "./types.ts";

/** The context with its Dockerfile read and its ignore rules known. */
export interface Context {
  readonly root: string;
  readonly dockerfile: Dockerfile;
  readonly ignore: Ignore;
}

/** The Dockerfile's text, as `readContext` finds it; "" when it finds none. */
export function dockerfileText({
  contextPath: root,
  dockerfile,
}: Pick<BuildRequest, "contextPath" | "dockerfile">): string {
  if ("text" in dockerfile) return dockerfile.text;
  return readText(root, dockerfile.path || "Dockerfile") ?? "";
}

function readText(root: string, path: string): string | undefined {
  return (
    readInside(root, path, dockerfileBytesMax) ??
    // As in Docker: the default name may be written in lower case.
    (path === "Dockerfile" ? readInside(root, "dockerfile", dockerfileBytesMax) : undefined)
  );
}

/** Reads what a build starts from. @throws Failure "invalid" — no Dockerfile, or mistakes in it */
export async function readContext(request: BuildRequest): Promise<Context> {
  const root = request.contextPath;
  if ("text" in request.dockerfile) {
    const { text, path = "Dockerfile", ignore } = request.dockerfile;
    const dockerfile = await inSlices(parsing(text, path));
    return { root, dockerfile, ignore: ignore ? parseIgnore(ignore) : readIgnore(root, [path]) };
  }
  const asked = request.dockerfile.path || "Dockerfile";
  const path = asked.replace(/^\/+/, "");
  const text = readText(root, path);
  if (text === undefined) {
    const near = nearest(posix.basename(path), namesIn(root, posix.dirname(path)));
    throw new Failure("invalid", `Cannot locate specified Dockerfile: ${asked}`, {
      hint: near
        ? `Did you mean ${posix.join(posix.dirname(path), near)}?`
        : "Its path is relative to the context folder; -f names another",
    });
  }
  if (text.trim() === "") {
    throw new Failure("invalid", `the Dockerfile (${asked}) cannot be empty`);
  }
  const dockerfile = await inSlices(parsing(text, path));
  return { root, dockerfile, ignore: readIgnore(root, [path]) };
}

/** `<Dockerfile>.dockerignore` beside the Dockerfile goes before the context's `.dockerignore`. */
function readIgnore(root: string, dockerfiles: readonly string[]): Ignore {
  for (const path of [...dockerfiles.map((name) => `${name}.dockerignore`), ".dockerignore"]) {
    const text = readInside(root, path, ignoreBytesMax);
    if (text !== undefined) return parseIgnore(text);
  }
  return parseIgnore("");
}

function namesIn(root: string, folder: string): string[] {
  using tree = new Root(root);
  return tree.names(folder);
}

/** The text of a file in a folder that may be hostile; undefined when there is none. */
export function readInside(root: string, path: string, bytesMax: number): string | undefined {
  if (posix.normalize(path).startsWith("../")) {
    throw new Failure("invalid", `forbidden path outside the build context: ${path} ()`);
  }
  using folder = new Root(root);
  return folder.text(path, bytesMax);
}
