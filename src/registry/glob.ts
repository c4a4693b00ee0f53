/** Compiles globs over names with slashes: `*` within one part, `**` across parts. */
export function compileGlobs(globs: readonly string[]): (name: string) => boolean {
  const shapes = globs.map((glob) => {
    const source = glob
      .split(/(\*\*|\*)/)
      .map((piece) =>
        piece === "**"
          ? ".*"
          : piece === "*"
            ? "[^/]*"
            : piece.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"),
      );
    return new RegExp(`^${source.join("")}$`, "s");
  });
  return (name) => shapes.some((shape) => shape.test(name));
}
