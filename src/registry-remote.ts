/** `lading registry ls|tags|inspect|copy|rm` and `lading manifest inspect`: work on registries, without an engine. */
import { parseArgs } from "node:util";
import { Failure, toFailure } from "./base/mod.ts";
import { registryAuth } from "./cli/credentials.ts";
import {
  type Digest,
  familiarName,
  fullReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "./oci/mod.ts";
import {
  type Copied,
  type Credentials,
  copyManifest,
  openRegistryClient,
  type RegistryClient,
  type Repository,
} from "./registry/mod.ts";

const usage = `Usage:  lading registry ls HOST
        lading registry tags NAME
        lading registry inspect NAME[:TAG|@DIGEST]
        lading registry copy SOURCE TARGET
        lading registry rm NAME:TAG|NAME@DIGEST
        lading manifest inspect NAME[:TAG|@DIGEST]

Work on registries without an engine and without pulling. copy brings all platforms and what refers to
the image (signatures, SBOMs), by digest; within one registry it moves no byte.

Options:
      --insecure HOST       A registry without TLS, or with a certificate that nobody vouches for
      --no-referrers        copy: leave out what refers to the image
      --help                Show this text
`;

type Verb = "ls" | "tags" | "inspect" | "copy" | "rm";

interface Given {
  readonly client: RegistryClient;
  readonly args: readonly string[];
  readonly withReferrers: boolean;
  readonly signal: AbortSignal;
}

/** Runs one of the verbs and returns the exit code. */
export async function runRemote(verb: Verb, argv: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(argv);
    if (values.help) {
      process.stdout.write(usage);
      return 0;
    }
    const abort = new AbortController();
    process.once("SIGINT", () => abort.abort());
    const given: Given = {
      client: openRegistryClient({ insecure: values.insecure ?? [] }),
      args: positionals,
      withReferrers: !values["no-referrers"],
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

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        insecure: { type: "string", multiple: true },
        "no-referrers": { type: "boolean" },
        help: { type: "boolean" },
      },
    });
  } catch (cause) {
    const why = (cause as Error).message.split(". ")[0];
    const hint = `See "lading registry ls --help"`;
    throw new Failure("invalid", `Cannot ask the registry: ${why}`, { hint, cause });
  }
}

const verbs: Record<Verb, (given: Given) => Promise<string>> = {
  async ls({ client, args, signal }) {
    const [host] = expect(args, 1, "HOST");
    const address = host.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
    const names = await client.catalog(address, await credentialsFor(`${address}/x`), signal);
    return lines(names);
  },
  async tags({ client, args, signal }) {
    const reference = parseReference(expect(args, 1, "NAME")[0]);
    return lines(await (await open(client, reference)).tags(signal));
  },
  async inspect({ client, args, signal }) {
    const reference = withDefaultTag(parseReference(expect(args, 1, "NAME[:TAG|@DIGEST]")[0]));
    const repository = await open(client, reference);
    const { bytes } = await repository.manifest(nameIn(reference), signal);
    return `${JSON.stringify(JSON.parse(Buffer.from(bytes).toString()), null, "\t")}\n`;
  },
  async copy({ client, args, signal, withReferrers }) {
    const [from, to] = expect(args, 2, "SOURCE TARGET").map((text) =>
      withDefaultTag(parseReference(text)),
    ) as [Reference, Reference];
    const source = await open(client, from);
    const target = await open(client, to, true);
    const told = (what: Copied) =>
      process.stderr.write(`${what.what} ${what.digest}: ${what.how}\n`);
    const options = { signal, told, withReferrers };
    const digest = await copyManifest({ source, target }, [nameIn(from), nameIn(to)], options);
    return `${familiarName(to)}@${digest}\n`;
  },
  async rm({ client, args, signal }) {
    const reference = parseReference(expect(args, 1, "NAME:TAG|NAME@DIGEST")[0]);
    if (!reference.tag && !reference.digest) {
      throw new Failure("invalid", `Cannot remove "${args[0]}": say which tag or digest`);
    }
    const repository = await open(client, reference, true);
    await repository.remove(nameIn(reference), signal);
    return `Removed ${fullReference(reference)}\n`;
  },
};

const lines = (names: readonly string[]) => names.map((name) => `${name}\n`).join("");

function nameIn({ tag, digest }: Reference): string | Digest {
  return digest ?? tag ?? "latest";
}

function expect(args: readonly string[], count: number, what: string): [string, ...string[]] {
  if (args.length === count) return args as readonly string[] as [string, ...string[]];
  throw new Failure("invalid", `Cannot ask the registry: give ${what}`, {
    hint: `See "lading registry ls --help"`,
  });
}

async function open(
  client: RegistryClient,
  reference: Reference,
  push = false,
): Promise<Repository> {
  const credentials = await credentialsFor(`${reference.domain}/${reference.path}`);
  return client.repository(reference, { credentials, push });
}

/** What `lading login` or `docker login` kept. */
export async function credentialsFor(image: string): Promise<Credentials> {
  const { username, password, identitytoken } = (await registryAuth(image)) ?? {};
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(identitytoken ? { identityToken: identitytoken } : {}),
  };
}
