/** Registry credentials in `config.json`, where Docker's clients keep them too. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { AuthBody } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import {
  eraseSecret,
  getSecret,
  listSecrets,
  ownProgram,
  storeSecret,
} from "./credential-program.ts";

export const hubAddress = "https://index.docker.io/v1/";

interface ConfigFile {
  auths?: Record<string, { auth?: string; identitytoken?: string }>;
  /** The program for all registries that `credHelpers` does not name. */
  credsStore?: string;
  credHelpers?: Record<string, string>;
  [other: string]: unknown;
}

export function defaultFolder(): string {
  return process.env["DOCKER_CONFIG"] || `${process.env["HOME"] ?? "/root"}/.docker`;
}

/** @throws Failure "corrupt" — it is there but cannot be read as JSON */
export function readConfig(folder = defaultFolder()): ConfigFile {
  const path = `${folder}/config.json`;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as { code?: string }).code === "ENOENT") return {};
    throw new Failure("denied", `Cannot read ${path}`, { cause });
  }
  try {
    return JSON.parse(text) as ConfigFile;
  } catch (cause) {
    throw new Failure("corrupt", `Cannot read ${path}: it is not JSON`, { cause });
  }
}

/** Replaces the file whole; nobody but its owner may read it. */
export function writeConfig(config: ConfigFile, folder = defaultFolder()): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = `${folder}/config.json`;
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(config, null, "\t")}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

/** The registry's address as the configuration names it. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split("/") as [string, ...string[]];
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return !isHost || first === "docker.io" ? hubAddress : first;
}

function decode(address: string, entry: { auth?: string; identitytoken?: string }): AuthBody {
  const [username = "", password = ""] = Buffer.from(entry.auth ?? "", "base64")
    .toString()
    .split(/:(.*)/s);
  const token = entry.identitytoken;
  return { username, password, serveraddress: address, ...(token ? { identitytoken: token } : {}) };
}

/** The credentials for the registry of `image`; undefined when there are none. */
export async function registryAuth(
  image: string,
  folder = defaultFolder(),
): Promise<AuthBody | undefined> {
  return await authFor(readConfig(folder), registryOf(image), folder);
}

async function authFor(
  config: ConfigFile,
  address: string,
  folder: string,
): Promise<AuthBody | undefined> {
  const program = programFor(config, address);
  if (program) return await getSecret({ program, folder }, address);
  const entry = config.auths?.[address] ?? config.auths?.[`https://${address}`];
  return entry ? decode(address, entry) : undefined;
}

/** The program that keeps the secrets of an address; none where the file itself does. */
function programFor(config: ConfigFile, address: string): string | undefined {
  return config.credHelpers?.[address] ?? (config.credsStore || undefined);
}

/** All credentials, as a build sends them. */
export async function allAuths(folder = defaultFolder()): Promise<Record<string, AuthBody>> {
  const config = readConfig(folder);
  const program = config.credsStore;
  const addresses = new Set([
    ...Object.keys(config.auths ?? {}),
    ...Object.keys(config.credHelpers ?? {}),
    ...(program ? await listSecrets({ program, folder }) : []),
  ]);
  const found: Record<string, AuthBody> = {};
  for (const address of addresses) {
    const auth = await authFor(config, address, folder);
    if (auth) found[address] = auth;
  }
  return found;
}

/**
 * Keeps what a login gave: with the program that the configuration names, else with our own, encrypted.
 * With `isPlain`, readable in the file. Tells the program, if there is one.
 * @throws Failure "conflict" — a program is named, and `isPlain` was asked for
 */
export async function keepAuth(
  auth: AuthBody,
  { folder = defaultFolder(), isPlain = false }: { folder?: string; isPlain?: boolean } = {},
): Promise<string | undefined> {
  const config = readConfig(folder);
  const { serveraddress: address = "" } = auth;
  const named = programFor(config, address);
  if (isPlain && named && (named !== ownProgram || config.credsStore)) {
    throw new Failure("conflict", `Cannot keep the credentials readable: ${named} keeps them`, {
      hint: `Take "${named}" out of ${folder}/config.json first`,
    });
  }
  const program = isPlain ? undefined : (named ?? ownProgram);
  if (program) await storeSecret({ program, folder }, auth);
  const auths = { ...config.auths, [address]: program ? {} : plainEntry(auth) };
  const { [address]: _before, ...others } = config.credHelpers ?? {};
  const isOurs = program && program !== config.credsStore;
  const credHelpers = isOurs ? { ...others, [address]: program } : others;
  const hasHelpers = config.credHelpers || isOurs;
  writeConfig({ ...config, auths, ...(hasHelpers ? { credHelpers } : {}) }, folder);
  return program;
}

function plainEntry({ username = "", password = "", identitytoken }: AuthBody) {
  const pair = Buffer.from(`${username}:${identitytoken ? "" : password}`).toString("base64");
  return identitytoken ? { auth: pair, identitytoken } : { auth: pair };
}

/** Forgets what a login gave; false when there was nothing. */
export async function dropAuth(address: string, folder = defaultFolder()): Promise<boolean> {
  const config = readConfig(folder);
  const program = programFor(config, address);
  const keeper = program ? { program, folder } : undefined;
  if (keeper && (await getSecret(keeper, address))) await eraseSecret(keeper, address);
  else if (!config.auths?.[address]) return false;
  const { [address]: _gone, ...auths } = config.auths ?? {};
  const { [address]: helper, ...others } = config.credHelpers ?? {};
  const credHelpers = helper === ownProgram ? others : config.credHelpers;
  writeConfig({ ...config, auths, ...(credHelpers ? { credHelpers } : {}) }, folder);
  return true;
}
