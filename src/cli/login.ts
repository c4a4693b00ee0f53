import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { ownProgram, programPath } from "./credential-program.ts";
import { vaultPath } from "./credential-vault.ts";
import { hubAddress, keepAuth } from "./credentials.ts";
import { configFolder, engineOf } from "./engine.ts";
import { complain, print, write } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] [SERVER]",
  flags: {
    "plain-text": { kind: "bool", about: "Keep the password readable in config.json" },
    password: { kind: "string", short: "p", about: "Password; better given with --password-stdin" },
    "password-stdin": { kind: "bool", about: "Read the password from STDIN" },
    username: { kind: "string", short: "u", about: "Name of the user" },
  },
  arguments: { min: 0, max: 1 },
  async run({ flags, args, given, globals }) {
    if (flags["password-stdin"] && given.has("password")) {
      throw new Failure("invalid", "--password and --password-stdin are mutually exclusive");
    }
    if (flags["password-stdin"] && flags.username === "") {
      throw new Failure("invalid", "the --password-stdin option requires --username to be set");
    }
    if (given.has("password")) {
      complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    const address = serverAddress(args[0]);
    const username = flags.username || (await ask("Username: ", false));
    const password = flags["password-stdin"]
      ? (await Bun.stdin.text()).replace(/\r?\n$/, "")
      : flags.password || (await ask("Password: ", true));
    const body = { username, password, serveraddress: address };
    const { Status, IdentityToken } = await engineOf(globals).system.auth(body);
    const folder = configFolder(globals);
    const auth = IdentityToken ? { ...body, identitytoken: IdentityToken } : body;
    tellKeeper(await keepAuth(auth, { folder, isPlain: flags["plain-text"] }), folder);
    print(Status || "Login Succeeded");
    return 0;
  },
});

function tellKeeper(program: string | undefined, folder: string): void {
  if (!program) {
    complain(`\nWARNING! Your credentials are stored unencrypted in '${folder}/config.json'.`);
  } else if (program === ownProgram) {
    complain(`Your credentials are stored encrypted in '${vaultPath(folder)}'.`);
    if (programPath(program)) return;
    complain(`The docker CLI reads them when docker-credential-${program} is on its PATH.`);
  }
}

/** The address as the configuration names it. */
export function serverAddress(server: string | undefined): string {
  if (!server || /^(https?:\/\/)?(index\.|registry-1\.)?docker\.io(\/v1)?\/?$/.test(server)) {
    return hubAddress;
  }
  return server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

async function ask(question: string, isSecret: boolean): Promise<string> {
  const { isatty } = require("node:tty") as typeof import("node:tty");
  if (!isatty(0)) {
    throw new Failure(
      "invalid",
      "Error: Cannot perform an interactive login from a non TTY device",
    );
  }
  write(question, 2);
  if (!isSecret) {
    for await (const line of console) return line.trim();
    throw new Failure("invalid", "Error: username is a required field");
  }
  const { readSecret } = require("./secret.ts") as typeof import("./secret.ts");
  return readSecret();
}
