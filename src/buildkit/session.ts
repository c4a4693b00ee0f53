/** Sessions: connections on which a client serves its files, secrets, agents and credentials. */
import type { Socket } from "node:net";
import { Failure } from "../base/mod.ts";
import type { Agent, RegistryLogin } from "../build/mod.ts";
import { agentOver } from "../build/mod.ts";
import { GrpcClient } from "./grpc.ts";
import {
  bytesMessage,
  credentialsRequest,
  credentialsResponse,
  secretRequest,
  secretResponse,
} from "./messages.ts";

const sessionsMax = 256;
/** A client opens its session and its build at once; either may come first. */
const arrivalMsMax = 10_000;

export interface Session {
  readonly client: GrpcClient;
  /** Paths of the methods that the client serves. */
  readonly methods: ReadonlySet<string>;
  /** The same for all sessions of one folder of one client; "" when it has none. */
  readonly sharedKey: string;
}

/** The sessions that are open, by the identifiers that their clients chose. */
export class Sessions {
  readonly #open = new Map<string, Session>();
  readonly #arrivals = new Map<string, Set<() => void>>();

  /** To call before the 101. @throws Failure "invalid" | "conflict" | "exhausted" */
  check(id: string): void {
    if (!/^[\w.:-]{1,128}$/.test(id)) {
      throw new Failure(
        "invalid",
        "Cannot open a session: X-Docker-Expose-Session-Uuid is no name",
      );
    }
    if (this.#open.has(id)) {
      throw new Failure("conflict", `Cannot open a session: "${id}" is open already`);
    }
    if (this.#open.size >= sessionsMax) {
      throw new Failure("exhausted", `Cannot open a session: ${sessionsMax} are open`);
    }
  }

  /** Takes over a connection, after its 101; the session ends with it. */
  open(
    id: string,
    socket: Socket,
    { methods, sharedKey }: { methods: readonly string[]; sharedKey: string },
  ): void {
    const client = new GrpcClient(socket);
    this.#open.set(id, { client, methods: new Set(methods), sharedKey });
    client.signal.addEventListener("abort", () => this.#open.delete(id));
    for (const arrived of this.#arrivals.get(id) ?? []) arrived();
  }

  /** The session of this name, soon. @throws Failure "not_found" */
  async find(id: string): Promise<Session> {
    const found = this.#open.get(id);
    if (found) return found;
    const waiting = this.#arrivals.get(id) ?? new Set();
    this.#arrivals.set(id, waiting);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, arrivalMsMax);
      function done(): void {
        clearTimeout(timer);
        waiting.delete(done);
        resolve();
      }
      waiting.add(done);
    });
    if (waiting.size === 0) this.#arrivals.delete(id);
    const arrived = this.#open.get(id);
    if (arrived) return arrived;
    throw new Failure("not_found", `no active session for ${id.slice(0, 128)}`);
  }
}

/** What a client's login for a registry is; undefined when it has none. */
export async function loginOf(session: Session, host: string): Promise<RegistryLogin | undefined> {
  const path = "/moby.filesync.v1.Auth/Credentials";
  if (!session.methods.has(path)) return undefined;
  const answer = await session.client.ask(path, credentialsRequest.encode({ host }));
  const { username, secret } = credentialsResponse.decode(answer);
  if (secret === "") return undefined;
  return username === "" ? { identitytoken: secret } : { username, password: secret };
}

/** A secret's bytes; undefined when the client has none of that name. */
export async function secretOf(session: Session, id: string): Promise<Uint8Array | undefined> {
  const path = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
  if (!session.methods.has(path)) return undefined;
  try {
    const answer = await session.client.ask(path, secretRequest.encode({ id }));
    return secretResponse.decode(answer).data;
  } catch (error) {
    if (error instanceof Failure && error.code === "not_found") return undefined;
    throw error;
  }
}

/** A client's SSH agent: each question is a connection of its own. */
export function agentOf(session: Session, id: string): Agent | undefined {
  const path = "/moby.sshforward.v1.SSH/ForwardAgent";
  if (!session.methods.has(path)) return undefined;
  return {
    ask: async (question) => {
      const call = session.client.open(path, { "buildkit.ssh.id": id });
      async function* input() {
        for await (const message of call.messages) yield bytesMessage.decode(message).data;
      }
      const write = (data: Uint8Array) => call.write(bytesMessage.encode({ data }));
      try {
        return await agentOver(input(), write).ask(question);
      } finally {
        call.cancel();
      }
    },
  };
}

/** The name of what a client uploads on its session, as a context's address has it. */
export function uploadOf(address: string): string | undefined {
  return /^https?:\/\/buildkit-session(\/.+)$/.exec(address)?.[1];
}

/** What a client uploads: its stdin. @throws Failure "invalid" */
export async function* readUpload(
  session: Session,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const method = "/moby.upload.v1.Upload/Pull";
  if (!session.methods.has(method)) {
    throw new Failure("invalid", "Cannot take the context: the client uploads none");
  }
  const call = session.client.open(method, { urlpath: path, urlhost: "buildkit-session" });
  const cancel = () => call.cancel();
  signal.addEventListener("abort", cancel);
  try {
    for await (const message of call.messages) yield bytesMessage.decode(message).data;
    call.end();
  } finally {
    signal.removeEventListener("abort", cancel);
    call.cancel();
  }
}
