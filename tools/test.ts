/**
 * Runs every test, one folder after the other, and ends with `N passed, N failed[, N skipped]`.
 * `tools/test.ts src/oci test/build` runs only those. Exit code 1 when one failed or none ran.
 *
 * Many tests race with the kernel on purpose, so a file with a failure is run once more, alone. What
 * passes then counts as passed and is named as unsteady: to be mended, not to be forgotten.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const timeoutMs = 15 * 60_000;

/** Counts in one folder's JUnit report. */
interface Counts {
  tests: number;
  failures: number;
  skipped: number;
}

interface Report extends Counts {
  readonly skippedNames: readonly string[];
  readonly failedTests: readonly { readonly file: string; readonly name: string }[];
}

/** Reads the totals and what was skipped or failed from Bun's JUnit report. */
export function readReport(xml: string): Report {
  const head = /<testsuites[^>]*>/.exec(xml)?.[0] ?? "";
  const number = (name: string) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const skipped = xml.matchAll(/<testcase name="([^"]*)"[^>]*>\s*<skipped/g);
  const failed = xml.matchAll(/<testcase name="([^"]*)"[^>]*file="([^"]*)"[^>]*>\s*<failure/g);
  return {
    tests: number("tests"),
    failures: number("failures"),
    skipped: number("skipped"),
    skippedNames: [...skipped].map(([, name]) => name!),
    failedTests: [...failed].map(([, name, file]) => ({ name: name!, file: file! })),
  };
}

/** The tests of what joins the folders. */
const aboveFolders = "src/*.test.ts";

function targets(folder: string): string[] {
  if (folder !== aboveFolders) return [`./${folder}/`];
  const names = readdirSync(join(root, "src")).filter((name) => name.endsWith(".test.ts"));
  return names.map((name) => `./src/${name}`);
}

function hasTests(folder: string): boolean {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).some((name) =>
    name.endsWith(".test.ts"),
  );
}

function folders(): string[] {
  const named = process.argv.slice(2);
  if (named.length > 0) return named;
  const inSource = readdirSync(join(root, "src"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `src/${entry.name}`);
  const all = ["tools", ...inSource, "test"].filter((folder) => hasTests(join(root, folder)));
  return [...all, aboveFolders];
}

async function run(files: readonly string[], report: string): Promise<Report> {
  const child = Bun.spawn(
    [
      "tools/cgroup-view",
      process.execPath,
      "test",
      ...files,
      "--timeout=120000",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
    ],
    { cwd: root, stdin: "ignore", stdout: "inherit", stderr: "inherit" },
  );
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const exitCode = await child.exited;
  clearTimeout(timer);
  const read = readReport(existsSync(report) ? readFileSync(report, "utf8") : "");
  // A crash, a time-out or a broken import leaves no failure in the report: it counts as one.
  if (exitCode !== 0 && read.failures === 0) return { ...read, tests: read.tests + 1, failures: 1 };
  return read;
}

/** Runs a folder's tests, and what failed once more. */
async function runFolder(folder: string, reports: string): Promise<Report> {
  const report = join(reports, folder.replaceAll(/[/*]/g, "-"));
  const first = await run(targets(folder), `${report}.xml`);
  if (first.failedTests.length === 0) return first;
  const files = [...new Set(first.failedTests.map(({ file }) => `./${file}`))];
  console.log(`\n== once more: ${files.join(" ")}`);
  const second = await run(files, `${report}-again.xml`);
  const isFailed = (name: string) => second.failedTests.some((each) => each.name === name);
  for (const { file, name } of first.failedTests) {
    console.log(
      `${isFailed(name) ? "failed twice" : "unsteady, passed when alone"}: ${file}: ${name}`,
    );
  }
  return { ...first, failures: second.failures };
}

if (import.meta.main) {
  const reports = mkdtempSync(join(tmpdir(), "lading-test-"));
  const total: Counts = { tests: 0, failures: 0, skipped: 0 };
  const failed: string[] = [];
  for (const folder of folders()) {
    console.log(`\n== ${folder}`);
    const counts = await runFolder(folder, reports);
    for (const name of counts.skippedNames) console.log(`skipped: ${folder}: ${name}`);
    if (counts.failures > 0) failed.push(folder);
    total.tests += counts.tests;
    total.failures += counts.failures;
    total.skipped += counts.skipped;
  }
  rmSync(reports, { recursive: true });
  if (failed.length > 0) console.log(`\nfailed in: ${failed.join(", ")}`);
  const passed = total.tests - total.failures - total.skipped;
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
  console.log(`${passed} passed, ${total.failures} failed${skipped}`);
  process.exit(total.failures > 0 || passed === 0 ? 1 : 0);
}
