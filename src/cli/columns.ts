/** Columns as Go's text/tabwriter aligns them. Spec: https://pkg.go.dev/text/tabwriter */

/**
 * Aligns cells that end in a tab. A column is a run of neighbouring lines that have a cell there, at
 * least `widthMin` wide with `padding` spaces after its widest cell. The last cell of a line is in no
 * column.
 */
export function alignColumns(text: string, { widthMin = 10, padding = 3 } = {}): string {
  const lines = text.split("\n").map((line) => line.split("\t"));
  const sizes = lines.map((cells) => cells.map(cellWidth));
  const widths: number[][] = lines.map(() => []);
  const columnsMax = Math.max(...lines.map((cells) => cells.length - 1));
  for (let column = 0; column < columnsMax; column++) {
    for (let from = 0; from < lines.length; ) {
      let to = from;
      let width = 0;
      while (to < lines.length && lines[to]!.length - 1 > column) {
        width = Math.max(width, sizes[to]![column]!);
        to++;
      }
      for (let row = from; row < to; row++) {
        widths[row]![column] = Math.max(widthMin, width + padding);
      }
      from = Math.max(to, from + 1);
    }
  }
  return lines
    .map((cells, row) =>
      cells
        .map((cell, column) => {
          const width = widths[row]![column];
          return column === cells.length - 1 || width === undefined
            ? cell
            : cell + " ".repeat(width - sizes[row]![column]!);
        })
        .join(""),
    )
    .join("\n");
}

/** In characters. Counting one by one takes longer than all else that a short command does. */
function cellWidth(cell: string): number {
  return /[\ud800-\udbff]/.test(cell) ? [...cell].length : cell.length;
}
