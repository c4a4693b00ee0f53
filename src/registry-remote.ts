/** `lading registry ls|tags|inspect|copy|rm`: work on registries, without an engine. */
import { parseArgs } from "node:util";
import { Failure, toFailure } from "./base/mod.ts";
import { defaultHost } from "./cli/globals.ts";
import { fullReference, parseReference, withDefaultTag } from "./oci/mod.ts";
import { type Copied, openRegistryClient, type RegistryClient } from "./registry/mod.ts";
import { credentialsFor, nameIn, openRepository, withLoginHint } from "./registry-open.ts";

const usage = `Usage:  lading registry ls HOST
        lading registry tags NAME
        lading registry inspect NAME[:TAG|@DIGEST]
        lading registry copy SOURCE TARGET
        lading registry rm NAME:TAG|NAME@DIGEST

Work on registries without pulling. copy brings all platforms and what refers to the image (signatures,
SBOMs), by digest; within one registry it moves no byte. SOURCE and TARGET are one of

  NAME[:TAG|@DIGEST]            in a registry
  oci:DIR[:NAME|@DIGEST]        in an OCI layout
  oci-archive:FILE[:NAME]       in such a layout as tar
  docker-archive:FILE[:NAME]    in a tar as "save" writes and "load" reads it
  store:NAME                    in the engine's store, which has one platform

Options:
  -H, --host string         copy: The engine (default DOCKER_HOST, or ${defaultHost()})
      --insecure HOST       A registry without TLS, or with a certificate that nobody vouches for
      --no-referrers        copy: leave out what refers to the image
  -q, --quiet               copy: print the result alone
      --help                Show this text
`;

type Verb = "ls" | "tags" | "inspect" | "copy" | "rm";

interface Given {
  readonly client: RegistryClient;
  readonly args: readonly [string, ...string[]];
  readonly withReferrers: boolean;
  readonly engine: string;
  readonly isQuiet: boolean;
  readonly signal: AbortSignal;
}

/** Runs one of the verbs and returns the exit code. */
export async function runRemote(verb: Verb, argv: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(verb, argv);
    if (values.help) {
      process.stdout.write(usage);
      return 0;
    }
    const [first, ...rest] = positionals;
    if (first === undefined || positionals.length !== operands[verb].split(" ").length)
      throw misused(verb, `give ${operands[verb]}`);
    const abort = new AbortController();
    process.once("SIGINT", () => abort.abort());
    const given: Given = {
      client: openRegistryClient({ insecure: values.insecure ?? [] }),
      args: [first, ...rest],
      withReferrers: !values["no-referrers"],
      engine: values.host ?? process.env["DOCKER_HOST"] ?? defaultHost(),
      isQuiet: values.quiet ?? false,
      signal: abort.signal,
    };
    process.stdout.write(await verbs[verb](given));
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
        "no-referrers": { type: "boolean" },
        host: { type: "string", short: "H" },
        quiet: { type: "boolean", short: "q" },
        help: { type: "boolean" },
      },
    });
  } catch (cause) {
    throw misused(verb, (cause as Error).message.split(". ")[0]!);
  }
}

function misused(verb: Verb, why: string): Failure {
  const hint = `See "lading registry ${verb} --help"`;
  return new Failure("invalid", `Cannot ask the registry: ${why}`, { hint });
}

const operands: Readonly<Record<Verb, string>> = {
  ls: "HOST",
  tags: "NAME",
  inspect: "NAME[:TAG|@DIGEST]",
  copy: "SOURCE TARGET",
  rm: "NAME:TAG|NAME@DIGEST",
};

const verbs: Record<Verb, (given: Given) => Promise<string>> = {
  async ls({ client, args, signal }) {
    const [host] = args;
    const address = host.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
    const names = await client.catalog(address, await credentialsFor(`${address}/x`), signal);
    return lines(names);
  },
  async tags({ client, args, signal }) {
    const reference = parseReference(args[0]);
    return lines(await (await openRepository(client, reference)).tags(signal));
  },
  async inspect({ client, args, signal }) {
    const reference = withDefaultTag(parseReference(args[0]));
    const repository = await openRepository(client, reference);
    const { bytes } = await repository.manifest(nameIn(reference), signal);
    return `${JSON.stringify(JSON.parse(Buffer.from(bytes).toString()), null, "\t")}\n`;
  },
  async copy({ client, args, signal, engine, isQuiet, withReferrers }) {
    const { copyBetween, parsePlace, shownPlace } = await import("./registry-places.ts");
    const [from, to] = args.map(parsePlace);
    if (!from || !to) throw new Failure("internal", "two were counted");
    const told = (what: Copied) => {
      if (!isQuiet) process.stderr.write(`${what.what} ${what.digest}: ${what.how}\n`);
    };
    const digest = await copyBetween([from, to], { client, engine, told, signal, withReferrers });
    return `${shownPlace(to, digest)}\n`;
  },
  async rm({ client, args, signal }) {
    const reference = parseReference(args[0]);
    if (!reference.tag && !reference.digest) {
      throw new Failure("invalid", `Cannot remove "${args[0]}": say which tag or digest`);
    }
    const repository = await openRepository(client, reference, true);
    await repository.remove(nameIn(reference), signal).catch((error: unknown) => {
      throw withLoginHint(error, reference.domain, `delete in ${reference.path}`);
    });
    return `Removed ${fullReference(reference)}\n`;
  },
};

const lines = (names: readonly string[]) => names.map((name) => `${name}\n`).join("");
