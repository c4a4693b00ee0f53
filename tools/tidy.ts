/**
 * The house rules as a test: `tidy.ts` exits 1 when an import climbs the layers, a banned word names
 * a file or a symbol, or a file is not erasable TypeScript's size; sizes are a report.
 */
import { readdirSync, readFileSync } from "node:fs";

const rows = [
  ["base"],
  ["oci", "archive", "sys", "template"],
  ["content", "plugin"],
  ["registry", "snapshot", "runtime", "network", "volume", "logging"],
  ["image"],
  ["build", "scan", "sign"],
  ["engine", "buildkit"],
  ["api"],
  ["bake", "compose"],
  ["cli", "ui"],
];
const rowOf = new Map(rows.flatMap((names, row) => names.map((name) => [name, row] as const)));
const clients = ["bake", "cli", "compose", "ui"];
const clientDoors = [
  "bake/mod.ts",
  "compose/mod.ts",
  "api/client.ts",
  "api/schema.ts",
  "archive/mod.ts",
  "oci/mod.ts",
  "template/mod.ts",
  "base/mod.ts",
];

/** Lists what is wrong with the imports of `source`, the text of `path` (`src/<folder>/<file>.ts`). */
export function badImports(path: string, source: string): string[] {
  const from = path.split("/")[1]!;
  if (!rowOf.has(from)) return []; // daemon.ts and main.ts join everything
  const isClient = clients.includes(from);
  const found = [...source.matchAll(/(?:from|import)\s*\(?\s*"\.\.\/(\w+)\/([\w./-]+)"/g)];
  return found.flatMap(([, to, file]) => {
    const isDown = (rowOf.get(to!) ?? 99) < rowOf.get(from)!;
    // A laboratory is for the tests of those above as well.
    const isInside = file === "mod.ts" || /(^|-)laboratory\.ts$/.test(file!);
    const isDoor = isClient ? clientDoors.includes(`${to}/${file}`) : isInside;
    return isDown && isDoor ? [] : [`${path}: ${from} may not import ${to}/${file}`];
  });
}

const bannedWords =
  /\b(util|utils|helper|helpers|manager|service|common|[a-z]+Helper|[a-z]+Manager)\b/;

/** Lists declared names that say nothing: what a "helper" does is its name. */
export function badNames(path: string, source: string): string[] {
  const file = path.split("/").at(-1)!;
  const inFile = bannedWords.test(file) ? [`${path}: a file's name says what is in it`] : [];
  const declared = source.matchAll(
    /^export (?:async )?(?:function|const|class|type|interface) (\w+)/gm,
  );
  const bad = [...declared].filter(([, name]) =>
    /(Util|Helper|Manager)s?$|^I[A-Z][a-z]/.test(name!),
  );
  return [...inFile, ...bad.map(([, name]) => `${path}: banned word in "${name}"`)];
}

/** Lists constructs that Bun could not erase, checks that were switched off, and slow traps. */
export function badSyntax(path: string, source: string): string[] {
  const rules: [RegExp, string][] = [
    [/^\s*(export )?(const )?enum \w+/m, "enum: use a union"],
    [/^\s*(export )?namespace \w+/m, "namespace: use a module"],
    [/@ts-(ignore|nocheck)/, "switched-off type check"],
    [/Uint8Array\.from\(/, "Uint8Array.from: takes a Buffer byte by byte; new Uint8Array does not"],
    [/catch\s*(\(\w+\))?\s*\{\s*\}/, "empty catch: say why, or let it pass"],
  ];
  return rules.filter(([rule]) => rule.test(source)).map(([, what]) => `${path}: ${what}`);
}

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.includes("node_modules/"))
    .map((name) => `${folder}/${name}`);
}

if (import.meta.main) {
  const problems: string[] = [];
  const long: [number, string][] = [];
  for (const path of [...sources("src"), ...sources("test"), ...sources("tools")]) {
    const source = readFileSync(path, "utf8");
    problems.push(...badImports(path, source), ...badNames(path, source));
    if (!path.startsWith("tools/tidy")) problems.push(...badSyntax(path, source));
    const lines = source.split("\n").length;
    if (lines > 400) long.push([lines, path]);
  }
  for (const [lines, path] of long.sort((a, b) => b[0] - a[0])) {
    console.log(`report: ${path} has ${lines} lines (aim 100, at most 400)`);
  }
  for (const problem of problems) console.error(problem);
  console.log(problems.length === 0 ? "tidy: nothing to mend" : `tidy: ${problems.length} to mend`);
  process.exit(problems.length === 0 ? 0 : 1);
}
