/** `lading registry log` and `undo`: where a tag has been, asked of a registry that is Lading's. */
import { parseArgs } from "node:util";
import { Failure, toFailure } from "./base/mod.ts";
import { familiarReference, parseReference, type Reference, withDefaultTag } from "./oci/mod.ts";
import { adminPrefix, openRegistryClient } from "./registry/mod.ts";
import { credentialsFor, withLoginHint } from "./registry-open.ts";

const usage = `Usage:  lading registry log NAME[:TAG]
        lading registry undo NAME[:TAG]

log shows every move of a tag, newest first. undo moves the tag back to where it was before the last one,
also after it was deleted, or to any digest that log shows and that is not collected yet (--to). Undone
twice, it is as it was. undo takes the rights to push and to delete.

Options:
      --to DIGEST           undo: move it there
      --json                log: print the answer as it came
      --insecure HOST       A registry without TLS, or with a certificate that nobody vouches for
      --help                Show this text
`;

interface Move {
  readonly digest: string | null;
  readonly previous: string | null;
  readonly atMs: number;
  readonly who: string;
}

type Verb = "log" | "undo";

/** Runs one of the two and returns the exit code. */
export async function runHistory(verb: Verb, argv: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(verb, argv);
    if (values.help) {
      process.stdout.write(usage);
      return 0;
    }
    const [name, ...others] = positionals;
    if (name === undefined || others.length > 0) throw invalid(verb, "give NAME:TAG");
    const reference = withDefaultTag(parseReference(name));
    if (!reference.tag || reference.digest) throw invalid(verb, `"${name}" is no tag`);
    const answer = await ask(verb, reference, values);
    process.stdout.write(
      verb === "undo"
        ? undone(reference, answer as { digest: string | null })
        : values.json
          ? `${JSON.stringify(answer, null, 2)}\n`
          : table((answer as { moves: Move[] }).moves),
    );
    return 0;
  } catch (error) {
    const { message, hint } = toFailure(error);
    process.stderr.write(`lading: ${message}${hint ? `\n${hint}` : ""}\n`);
    return 1;
  }
}

function parse(verb: Verb, argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        insecure: { type: "string", multiple: true },
        json: { type: "boolean" },
        to: { type: "string" },
        help: { type: "boolean" },
      },
    });
  } catch (cause) {
    throw invalid(verb, (cause as Error).message.split(". ")[0]!);
  }
}

function invalid(verb: Verb, why: string): Failure {
  return new Failure("invalid", `Cannot ask the registry: ${why}`, {
    hint: `See "lading registry ${verb} --help"`,
  });
}

async function ask(
  verb: Verb,
  { domain, path, tag }: Reference,
  { to, insecure = [] }: { to?: string; insecure?: string[] },
): Promise<unknown> {
  const abort = new AbortController();
  process.once("SIGINT", () => abort.abort());
  const query = new URLSearchParams({ repository: path, tag: tag!, ...(to ? { to } : {}) });
  const actions = verb === "log" ? "pull" : "pull,push,delete";
  try {
    return await openRegistryClient({ insecure }).ask(domain, {
      method: verb === "log" ? "GET" : "POST",
      target: `${adminPrefix}${verb}?${query}`,
      scopes: [`repository:${path}:${actions}`],
      credentials: await credentialsFor(`${domain}/${path}`),
      signal: abort.signal,
    });
  } catch (cause) {
    const { code, message } = toFailure(cause);
    if (code !== "not_found" && code !== "unsupported") {
      throw withLoginHint(
        cause,
        domain,
        `${verb === "log" ? "pull" : "push and delete"} in ${path}`,
      );
    }
    throw new Failure(code, message, {
      hint: "A registry that is not Lading's keeps no history; log shows what undo can bring back",
      cause,
    });
  }
}

function table(moves: readonly Move[]): string {
  const rows = moves.map(({ atMs, who, digest, previous }) => {
    const at = new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
    return `${at}  ${who.padEnd(12)}  ${digest ?? `removed, was ${previous}`}\n`;
  });
  return `${"SET (UTC)".padEnd(19)}  ${"BY".padEnd(12)}  DIGEST\n${rows.join("")}`;
}

function undone(reference: Reference, { digest }: { digest: string | null }): string {
  const name = familiarReference(reference);
  return digest === null ? `${name} is removed\n` : `${name} is ${digest}\n`;
}
