/**
 * Paths of files whose names are any bytes: `node:path` would turn what is no valid UTF-8 (see
 * `decodeName`) into question marks.
 */

/** Without "." and "..", absolute when the first part is. "" stands for the folder itself. */
export function join(...parts: readonly string[]): string {
  const text = parts.filter((part) => part !== "").join("/");
  const isAbsolute = text.startsWith("/");
  const kept: string[] = [];
  for (const name of text.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") kept.push(name);
    else if (kept.length > 0 && kept.at(-1) !== "..") kept.pop();
    else if (!isAbsolute) kept.push(name);
  }
  return `${isAbsolute ? "/" : ""}${kept.join("/")}`;
}

/** The folder of a clean path; "/" or "" at the top. */
export function dirname(path: string): string {
  const at = path.lastIndexOf("/");
  return at < 0 ? "" : at === 0 ? "/" : path.slice(0, at);
}

/** The last name of a path. */
export function basename(path: string): string {
  const plain = path.replace(/\/+$/, "");
  return plain.slice(plain.lastIndexOf("/") + 1);
}

/** What of a clean `path` is below `base`, which it begins with. */
export function below(base: string, path: string): string {
  return base === "" ? path : path.slice(base.length + 1);
}
