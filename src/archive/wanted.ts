/** Tells whether a path is one of these, below or above one. "" stands for all. */
export function wantedBy(only: readonly string[]): (path: string) => boolean {
  if (only.includes("")) return () => true;
  const wanted = new Set(only);
  const above = new Set(only.flatMap(foldersAbove));
  return (path) =>
    wanted.has(path) || above.has(path) || foldersAbove(path).some((each) => wanted.has(each));
}

/** `a`, `a/b` for `a/b/c`. */
function foldersAbove(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}
