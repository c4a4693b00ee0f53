/** Programs that keep secrets: `docker-credential-NAME`, as Docker's clients call them. */
import type { AuthBody } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";

const timeoutMs = 30_000;
const answerBytesMax = 1 << 20;
/** In the name's place where the secret is a refresh token. */
const tokenName = "<token>";

/**
 * Runs a verb of the program; its answer, or undefined where it has no such credentials.
 * Protocol: https://github.com/docker/docker-credential-helpers#development
 */
async function ask(program: string, verb: string, input: string): Promise<string | undefined> {
  const name = `docker-credential-${program}`;
  const path = /^[A-Za-z0-9_.-]+$/.test(program)
    ? Bun.which(name, { PATH: process.env["PATH"] ?? "" })
    : null;
  if (!path) {
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
  throw new Failure("denied", `Cannot ${verb} the credentials with ${name}: ${why}`);
}

/** The credentials for an address. */
export async function getSecret(program: string, address: string): Promise<AuthBody | undefined> {
  const text = await ask(program, "get", address);
  if (text === undefined) return undefined;
  const { Username = "", Secret = "" } = parse(text, program);
  if (Username === tokenName) return { identitytoken: Secret, serveraddress: address };
  return { username: Username, password: Secret, serveraddress: address };
}

export async function storeSecret(
  program: string,
  { username, password, identitytoken, serveraddress }: AuthBody,
): Promise<void> {
  const secret = identitytoken
    ? { Username: tokenName, Secret: identitytoken }
    : { Username: username ?? "", Secret: password ?? "" };
  await ask(program, "store", JSON.stringify({ ServerURL: serveraddress, ...secret }));
}

export async function eraseSecret(program: string, address: string): Promise<void> {
  await ask(program, "erase", address);
}

/** The addresses that the program has credentials for. */
export async function listSecrets(program: string): Promise<string[]> {
  return Object.keys(parse((await ask(program, "list", "")) ?? "{}", program));
}

function parse(text: string, program: string): Record<string, string | undefined> {
  try {
    return JSON.parse(text) as Record<string, string | undefined>;
  } catch (cause) {
    const why = "its answer is not JSON";
    throw new Failure("corrupt", `Cannot use docker-credential-${program}: ${why}`, { cause });
  }
}
