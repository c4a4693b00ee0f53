/** `lading credential VERB`: the protocol of `docker-credential-*` programs, which Docker's clients speak. */
import { Failure, toFailure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { openVault, type Vault } from "./credential-vault.ts";
import { configFolder } from "./engine.ts";
import { print } from "./output.ts";

const inputBytesMax = 1 << 20;
/** The clients know an absent entry by these words. */
const notFound = "credentials not found in native keychain";

const verbs: Readonly<Record<string, (vault: Vault, input: string) => Promise<string>>> = {
  async store(vault, input) {
    const { ServerURL, Username, Secret } = parse(input);
    if (!ServerURL) throw new Failure("invalid", "no credentials server URL");
    if (!Username) throw new Failure("invalid", "no credentials username");
    await vault.store(ServerURL, { username: Username, secret: Secret ?? "" });
    return "";
  },
  async get(vault, input) {
    const ServerURL = addressOf(input);
    const found = await vault.get(ServerURL);
    if (!found) throw new Failure("not_found", notFound);
    return JSON.stringify({ ServerURL, Username: found.username, Secret: found.secret });
  },
  async erase(vault, input) {
    vault.erase(addressOf(input));
    return "";
  },
  async list(vault) {
    return JSON.stringify(await vault.list());
  },
};

export const command = defineCommand({
  usage: "store|get|erase|list",
  flags: {},
  arguments: { min: 1, max: 1 },
  async run({ args, globals }) {
    const name = args[0]!;
    const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
    if (!verb) {
      throw new Failure("invalid", `"${name}" is none of ${Object.keys(verbs).join(", ")}`, {
        hint: "The input is on STDIN: an address, or for store JSON with ServerURL, Username and Secret",
      });
    }
    try {
      const input = name === "list" ? "" : await readInput();
      using vault = await openVault(configFolder(globals));
      const answer = await verb(vault, input);
      if (answer !== "") print(answer);
      return 0;
    } catch (error) {
      const { message, hint } = toFailure(error);
      print(`${message}${hint ? ` (${hint})` : ""}`); // on STDOUT, as the protocol has it
      return 1;
    }
  },
});

async function readInput(): Promise<string> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of Bun.stdin.stream() as unknown as AsyncIterable<Uint8Array>) {
    parts.push(part);
    sizeBytes += part.length;
    if (sizeBytes > inputBytesMax) throw new Failure("invalid", "the input is too long");
  }
  return Buffer.concat(parts).toString();
}

function addressOf(input: string): string {
  const address = input.trim();
  if (address === "") throw new Failure("invalid", "no credentials server URL");
  return address;
}

function parse(input: string): Record<"ServerURL" | "Username" | "Secret", string | undefined> {
  const bad = (cause?: unknown) => new Failure("invalid", "the input is not JSON", { cause });
  let value: unknown;
  try {
    value = JSON.parse(input);
  } catch (cause) {
    throw bad(cause);
  }
  if (typeof value !== "object" || value === null) throw bad();
  const text = (name: string) => {
    const field = (value as Record<string, unknown>)[name];
    return typeof field === "string" ? field : undefined;
  };
  return { ServerURL: text("ServerURL"), Username: text("Username"), Secret: text("Secret") };
}
