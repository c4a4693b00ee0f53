/** Paths, without node:path, whose loading a short command would feel. */

/** An absolute, clean path: `.` and `..` gone, no slash at the end. */
export function resolve(path: string, from = process.cwd()): string {
  const whole = path.startsWith("/") ? path : `${from}/${path}`;
  const parts: string[] = [];
  for (const part of whole.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.replace(/\/+$/, "").split("/").at(-1) ?? "";
}

/** All but the last part. */
export function folderOf(path: string): string {
  const at = path.replace(/\/+$/, "").lastIndexOf("/");
  return at === -1 ? "." : path.slice(0, at) || "/";
}
