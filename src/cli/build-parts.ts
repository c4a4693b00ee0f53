/** Secrets and SSH agents of a build: they go to the engine on ways of their own. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import type { BuildQuery } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import type { Client } from "./engine.ts";
import { resolve } from "./paths.ts";

export interface SentParts extends AsyncDisposable {
  readonly query: Pick<BuildQuery, "secrets" | "ssh">;
}

interface Wish {
  readonly secret: readonly string[];
  readonly ssh: readonly string[];
}

/** Sends the secrets, and forwards the agents until it is disposed of. @throws Failure */
export async function sendParts(engine: Client, { secret, ssh }: Wish): Promise<SentParts> {
  const secrets = secret.map(readSecret); // all of them, before anything is sent
  await using opened = new AsyncDisposableStack();
  const handles: Record<string, string> = {};
  for (const { id, bytes } of secrets) {
    handles[id] = (await engine.images.keepSecret(once(bytes))).Id;
  }
  const agents: Record<string, string> = {};
  for (const text of ssh) {
    const [, id = "", places = ""] = /^([^=]*)=?(.*)$/s.exec(text) ?? [];
    const path = await agentPath(places === "" ? [] : places.split(","), opened);
    agents[id] = await forward(engine, path, opened);
  }
  const kept = opened.move();
  return {
    query: {
      ...(secret.length > 0 ? { secrets: handles } : {}),
      ...(ssh.length > 0 ? { ssh: agents } : {}),
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** `id=token,src=./token`, `id=token,env=TOKEN`, `id=TOKEN` (the variable, else the file). */
export function readSecret(text: string): { id: string; bytes: Uint8Array } {
  const options = new Map<string, string>();
  for (const field of text.split(",")) {
    const [key = "", ...rest] = field.split("=");
    const name = { source: "src" }[key] ?? key;
    if (!["id", "src", "env", "type"].includes(name) || rest.length === 0) {
      throw new Failure("invalid", `invalid secret "${key}": a field is id=, src=, env= or type=`);
    }
    options.set(name, rest.join("="));
  }
  const type = options.get("type");
  if (type !== undefined && type !== "file" && type !== "env") {
    throw new Failure("invalid", `unsupported secret type "${type}": it is file or env`);
  }
  const source = options.get("src");
  const id = options.get("id") ?? source ?? "";
  if (id === "") throw new Failure("invalid", "secret is missing its id");
  const variable = options.get("env") ?? (type === "env" ? (source ?? id) : undefined);
  if (variable !== undefined) return { id, bytes: fromEnvironment(variable) };
  const isSet = source === undefined && type === undefined && process.env[id] !== undefined;
  return { id, bytes: isSet ? fromEnvironment(id) : fromFile(source ?? id) };
}

function fromEnvironment(name: string): Uint8Array {
  const value = process.env[name];
  if (value !== undefined) return Buffer.from(value);
  throw new Failure("not_found", `secret: the environment has no ${name}`);
}

function fromFile(path: string): Uint8Array {
  try {
    return readFileSync(resolve(path));
  } catch (cause) {
    throw new Failure("not_found", `secret: cannot read ${path}`, { cause });
  }
}

/** The socket of an agent: the user's, a given one, or one that is started for key files. */
async function agentPath(places: readonly string[], opened: AsyncDisposableStack) {
  if (places.length === 0) {
    const path = process.env["SSH_AUTH_SOCK"];
    if (path) return path;
    throw new Failure("not_found", "invalid empty ssh agent socket: SSH_AUTH_SOCK is not set", {
      hint: "Start an agent, or name a key: --ssh default=KEY",
    });
  }
  const paths = places.map((place) => resolve(place));
  for (const path of paths) {
    const kind = statSync(path, { throwIfNoEntry: false });
    if (!kind) throw new Failure("not_found", `ssh: ${path}: no such file or directory`);
    if (kind.isSocket() && paths.length === 1) return path;
    if (!kind.isFile()) throw new Failure("invalid", `ssh: ${path} is no key and no single socket`);
  }
  return startAgent(paths, opened);
}

/** An agent of OpenSSH's with these keys; it ends with the build. */
async function startAgent(keys: readonly string[], opened: AsyncDisposableStack): Promise<string> {
  const folder = mkdtempSync(`${tmpdir()}/lading-ssh-`);
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  const socket = `${folder}/agent`;
  const quiet = { stdin: "ignore", stdout: "ignore", stderr: "ignore" } as const;
  if (!Bun.which("ssh-agent") || !Bun.which("ssh-add")) {
    throw new Failure("unavailable", "ssh: a key file needs OpenSSH's ssh-agent and ssh-add", {
      hint: "Install them, or forward a running agent with --ssh default",
    });
  }
  const agent = Bun.spawn(["ssh-agent", "-D", "-a", socket], quiet);
  opened.defer(() => agent.kill());
  for (let wait = 0; wait < 100 && !statSync(socket, { throwIfNoEntry: false }); wait++) {
    await Bun.sleep(10);
  }
  for (const key of keys) {
    const env = { ...process.env, SSH_AUTH_SOCK: socket, SSH_ASKPASS_REQUIRE: "never" };
    const added = Bun.spawn(["ssh-add", "-q", key], { ...quiet, stderr: "pipe", env });
    const told = await new Response(added.stderr).text();
    if ((await added.exited) !== 0) {
      const why = told.trim().split("\n").at(-1) ?? "";
      throw new Failure("invalid", `ssh: cannot use the key ${key}: ${why}`);
    }
  }
  return socket;
}

/** Joins a connection to the engine with one to the agent. Gives the id of the former. */
async function forward(engine: Client, path: string, opened: AsyncDisposableStack) {
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
  const line = await engine.images.forwardAgent(id);
  opened.defer(() => line.close());
  const { connect } = require("node:net") as typeof import("node:net"); // only here: it loads slowly
  const agent = connect({ path });
  opened.defer(() => {
    agent.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    agent.once("connect", resolve);
    agent.once("error", (cause) =>
      reject(new Failure("unavailable", `ssh: no agent answers at ${path}`, { cause })),
    );
  });
  agent.on("error", () => line.close());
  agent.on("data", (bytes) => void line.write(bytes).catch(() => agent.destroy()));
  agent.on("close", () => line.close());
  const toAgent = async () => {
    for await (const { bytes } of line.output()) agent.write(bytes);
  };
  toAgent().then(
    () => agent.end(),
    () => agent.destroy(),
  );
  return id;
}
