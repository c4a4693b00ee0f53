/** Programs that keep secrets: `docker-credential-NAME`, as Docker's clients call them. */
import type { AuthBody } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import type { Secret, Vault } from "./credential-vault.ts";

const timeoutMs = 30_000;
const answerBytesMax = 1 << 20;
/** In the name's place where the secret is a refresh token. */
const tokenName = "<token>";

/** A program that keeps secrets, for the configuration in a folder. */
export interface Keeper {
  readonly program: string;
  readonly folder: string;
}

/** Our own, which needs no process. */
export const ownProgram = "lading";

/**
 * Runs a verb of the program; its answer, or undefined where it has no such credentials.
 * Protocol: https://github.com/docker/docker-credential-helpers#development
 */
async function ask(program: string, verb: string, input: string): Promise<string | undefined> {
  const path = programPath(program);
  if (!path) {
    const name = `docker-credential-${program}`;
    throw new Failure("unavailable", `Cannot use the credentials: ${name} is not installed`, {
      hint: 'Install it, or take it out of "credsStore" and "credHelpers" in config.json',
    });
  }
  const child = Bun.spawn([path, verb], {
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "ignore",
    timeout: timeoutMs,
    maxBuffer: answerBytesMax,
  });
  const answer = (await new Response(child.stdout).text()).trim();
  if ((await child.exited) === 0) return answer;
  if (/credentials not found|no credentials/i.test(answer)) return undefined;
  const why = answer.slice(0, 300) || "it failed";
  throw new Failure(
    "denied",
    `Cannot ${verb} the credentials with docker-credential-${program}: ${why}`,
  );
}

/** Where the program is; undefined when it is not on the PATH. */
export function programPath(program: string): string | undefined {
  if (!/^[A-Za-z0-9_.-]+$/.test(program)) return undefined;
  return (
    Bun.which(`docker-credential-${program}`, { PATH: process.env["PATH"] ?? "" }) ?? undefined
  );
}

function ownVault({ folder }: Keeper): Promise<Vault> {
  const { openVault } = require("./credential-vault.ts") as typeof import("./credential-vault.ts");
  return openVault(folder);
}

/** The credentials for an address. */
export async function getSecret(keeper: Keeper, address: string): Promise<AuthBody | undefined> {
  const found = await findSecret(keeper, address);
  if (!found) return undefined;
  const { username, secret } = found;
  if (username === tokenName) return { identitytoken: secret, serveraddress: address };
  return { username, password: secret, serveraddress: address };
}

async function findSecret(keeper: Keeper, address: string): Promise<Secret | undefined> {
  if (keeper.program === ownProgram) {
    using vault = await ownVault(keeper);
    return await vault.get(address);
  }
  const text = await ask(keeper.program, "get", address);
  if (text === undefined) return undefined;
  const { Username: username = "", Secret: secret = "" } = parse(text, keeper.program);
  return { username, secret };
}

export async function storeSecret(
  keeper: Keeper,
  { username = "", password = "", identitytoken, serveraddress = "" }: AuthBody,
): Promise<void> {
  const secret = identitytoken
    ? { username: tokenName, secret: identitytoken }
    : { username, secret: password };
  if (keeper.program === ownProgram) {
    using vault = await ownVault(keeper);
    await vault.store(serveraddress, secret);
    return;
  }
  const body = { ServerURL: serveraddress, Username: secret.username, Secret: secret.secret };
  await ask(keeper.program, "store", JSON.stringify(body));
}

export async function eraseSecret(keeper: Keeper, address: string): Promise<void> {
  if (keeper.program === ownProgram) {
    using vault = await ownVault(keeper);
    vault.erase(address);
    return;
  }
  await ask(keeper.program, "erase", address);
}

/** The addresses that the program has credentials for. */
export async function listSecrets(keeper: Keeper): Promise<string[]> {
  if (keeper.program === ownProgram) {
    using vault = await ownVault(keeper);
    return Object.keys(await vault.list());
  }
  return Object.keys(parse((await ask(keeper.program, "list", "")) ?? "{}", keeper.program));
}

function parse(text: string, program: string): Record<string, string | undefined> {
  try {
    return JSON.parse(text) as Record<string, string | undefined>;
  } catch (cause) {
    const why = "its answer is not JSON";
    throw new Failure("corrupt", `Cannot use docker-credential-${program}: ${why}`, { cause });
  }
}
