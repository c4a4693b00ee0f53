/** An engine that answers from a script, for tests of whole commands: what was asked, and in which order. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Socket } from "bun";

/** One request as it came. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
  /** The request's first line and headers. */
  readonly head: string;
}

export type Answer =
  | { readonly status?: number; readonly json?: unknown; readonly delayMs?: number }
  /** Takes the connection over; what it yields is sent, and the connection ends after it. */
  | {
      readonly hijack: (input: Input) => AsyncIterable<Uint8Array | string>;
      readonly isTty?: boolean;
    };

/** What the client sends on a hijacked connection. */
export interface Input {
  /** All of it, once the client has ended its side. */
  whole(): Promise<string>;
}

export type Script = (asked: Asked) => Answer | undefined;

interface Connection {
  buffer: Buffer;
  isHijacked: boolean;
  ended: Promise<void>;
  end: () => void;
}

export class FakeEngine {
  readonly asked: Asked[] = [];
  readonly #folder = mkdtempSync(`${tmpdir()}/lading-fake-`);
  readonly #server;

  constructor(script: Script) {
    const take = (socket: Socket<Connection>) => this.#take(socket, script);
    this.#server = Bun.listen<Connection>({
      unix: `${this.#folder}/sock`,
      socket: {
        open: (socket) => {
          const { promise, resolve } = Promise.withResolvers<void>();
          socket.data = {
            buffer: Buffer.alloc(0),
            isHijacked: false,
            ended: promise,
            end: resolve,
          };
        },
        data: (socket, bytes) => {
          socket.data.buffer = Buffer.concat([socket.data.buffer, bytes]);
          if (!socket.data.isHijacked) take(socket);
        },
        end: (socket) => {
          socket.data.end();
          if (!socket.data.isHijacked) socket.end();
        },
        close: (socket) => socket.data.end(),
      },
      allowHalfOpen: true,
    });
  }

  get host(): string {
    return `unix://${this.#folder}/sock`;
  }

  /** `POST /containers/create` and so on, in order. */
  get order(): string[] {
    return this.asked.map(({ method, path }) => `${method} ${path}`);
  }

  close(): void {
    this.#server.stop(true);
    rmSync(this.#folder, { recursive: true });
  }

  #take(socket: Socket<Connection>, script: Script): void {
    const { buffer } = socket.data;
    const end = buffer.indexOf("\r\n\r\n");
    if (end === -1) return;
    const head = buffer.subarray(0, end).toString();
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (buffer.length < end + 4 + length) return;
    const body = buffer.subarray(end + 4, end + 4 + length).toString();
    socket.data.buffer = buffer.subarray(end + 4 + length);
    const [method = "", target = ""] = head.split(" ");
    const url = new URL(target, "http://engine");
    const path = url.pathname.replace(/^\/v[\d.]+/, "");
    const asked = { method, path, query: url.searchParams, body, head };
    this.asked.push(asked);
    void reply(socket, script(asked) ?? { status: 404, json: { message: `no ${path}` } });
  }
}

async function reply(socket: Socket<Connection>, answer: Answer): Promise<void> {
  if ("hijack" in answer) {
    socket.data.isHijacked = true;
    const type = answer.isTty ? "raw-stream" : "multiplexed-stream";
    socket.write(
      `HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
    );
    const input: Input = {
      whole: async () => {
        await socket.data.ended;
        return socket.data.buffer.toString();
      },
    };
    for await (const bytes of answer.hijack(input)) socket.write(bytes);
    socket.end();
    return;
  }
  if (answer.delayMs) await Bun.sleep(answer.delayMs);
  const text = answer.json === undefined ? "" : JSON.stringify(answer.json);
  const status = answer.status ?? (text === "" ? 204 : 200);
  socket.write(
    `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

/** A frame of output: 1 is stdout, 2 stderr. */
export function frame(stream: 1 | 2, text: string): Uint8Array {
  const body = Buffer.from(text);
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}

/** Runs the command line against a fake engine, as its own process. */
export async function runAgainst(
  engine: FakeEngine | undefined,
  args: readonly string[],
  { stdin = "", env = {} }: { stdin?: string; env?: Record<string, string> } = {},
): Promise<Ran> {
  const main = new URL("../main.ts", import.meta.url).pathname;
  const { DOCKER_API_VERSION: _unused, ...inherited } = process.env;
  const child = Bun.spawn([process.execPath, "--no-install", main, ...args], {
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...inherited, DOCKER_HOST: engine?.host ?? "unix:///no/such/sock", ...env },
    timeout: 20_000,
  });
  const [out, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, errors };
}
