import { type Code, Failure } from "../base/mod.ts";

type ExitCode = 126 | 127 | 128;
const runFailed = "failed to create task for container: failed to create shim task: ";
const execFailed = "";

/**
 * The words of the OCI runtime about a process that it did not start, as a Failure in Docker's form with
 * the exit code that `docker run` and `docker exec` end with.
 */
export function refusal(
  said: string,
  { program, action }: { program: string; action: "run" | "exec" },
): Failure & { readonly exitCode: ExitCode } {
  const words = lastWords(said);
  const { code, exitCode, reason } = classify(words, program);
  const prefix = action === "run" ? runFailed : execFailed;
  const step = action === "run" ? "OCI runtime create failed" : "OCI runtime exec failed";
  const shown = reason ?? words;
  const message = `${prefix}${step}: ${shown}: unknown`;
  return Object.assign(new Failure(code, message), { exitCode });
}

function classify(
  words: string,
  program: string,
): { code: Code; exitCode: ExitCode; reason?: string } {
  const start = `exec failed: unable to start container process: exec: "${program}"`;
  // For an empty name, the runtime tries the folder itself.
  if (program === "" || /^executable file .* not found/.test(words)) {
    const isPath = program.includes("/");
    const why = isPath
      ? `stat ${program}: no such file or directory`
      : "executable file not found in $PATH";
    return { code: "not_found", exitCode: 127, reason: `${start}: ${why}` };
  }
  const open = /^open executable: (.*)$/.exec(words)?.[1];
  if (open === "No such file or directory" || open === "Not a directory") {
    return { code: "not_found", exitCode: 127, reason: `${start}: ${open.toLowerCase()}` };
  }
  if (open !== undefined) {
    const why = open === "Operation not permitted" ? "is a directory" : open.toLowerCase();
    // A directory, a device or a file without the x bit: Docker says of each that it is denied.
    const denied = why === "is a directory" ? "is a directory: permission denied" : why;
    return { code: "denied", exitCode: 126, reason: `${start}: ${denied}` };
  }
  if (/Exec format error$/.test(words)) {
    return { code: "denied", exitCode: 126, reason: `${start}: exec format error` };
  }
  // runc's own words, which are Docker's.
  if (/: exec: "/.test(words)) {
    const isAbsent = /not found|no such file or directory/.test(words);
    const isDenied = /permission denied|is a directory|exec format error/.test(words);
    if (isAbsent) return { code: "not_found", exitCode: 127 };
    if (isDenied) return { code: "denied", exitCode: 126 };
  }
  if (/^chdir/.test(words)) return { code: "denied", exitCode: 126 };
  return { code: "invalid", exitCode: 128 };
}

/** The last line of the runtime's log, without the time that stands before it. */
function lastWords(said: string): string {
  const lines = said.split("\n").filter((line) => line.trim() !== "");
  // runc: time="…" level=error msg="…"
  const quoted = lines.findLast((each) => /^time=\S+ level=(error|fatal) /.test(each));
  const text = / msg=("(?:[^"\\]|\\.)*")/.exec(quoted ?? "")?.[1];
  if (text) return unquote(text).slice(0, 4096);
  const line = lines.at(-1) ?? "the runtime ended without a word";
  return line.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z: /, "").slice(0, 4096);
}

/** A string as Go quotes it: nearly JSON. */
function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text.slice(1, -1); // an escape that JSON does not have
  }
}
