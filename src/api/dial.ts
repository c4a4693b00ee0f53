/**
 * One connection of a client: reads and writes with back-pressure, and half-close. It uses Bun's own
 * sockets because loading node:net would cost a short command more time than its request.
 */
import type { Socket } from "bun";
import { Failure, toFailure } from "../base/mod.ts";

/** Where an engine listens. */
export type Address =
  | { readonly unixPath: string }
  | { readonly host: string; readonly port: number; readonly tls?: Tls }
  /** A program that speaks for it on its standard input and output. */
  | { readonly command: readonly [string, ...string[]] };

/** What a connection needs of Bun's sockets; the pipes of a program have it too. */
interface Wire {
  write(bytes: Uint8Array): number;
  /** Resolves when there is room for more. */
  flushed?(): Promise<unknown>;
  shutdown(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  ref(): void;
  unref(): void;
}

/** Texts in PEM. */
export interface Tls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: boolean;
}

const queuedBytesMax = 1 << 20;

/** A connected socket, as a pull source and a push sink. */
export class Connection {
  #socket: Wire | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #ended = false;
  #failure: Failure | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** @throws Failure "unavailable" — nobody listens there; "denied" — not for this user */
  static async open(address: Address, shown: string): Promise<Connection> {
    const self = new Connection();
    if ("command" in address) {
      self.#socket = startProgram(address.command, {
        data: (bytes) => self.#received(bytes),
        end: () => self.#finish(undefined),
      });
      return self;
    }
    const options = {
      data: self,
      allowHalfOpen: true,
      socket: {
        data: (_socket: Socket<Connection>, bytes: Buffer) => self.#received(bytes),
        drain: () => self.#wakeWriter?.(),
        end: () => self.#finish(undefined),
        close: () => self.#finish(undefined),
        error: (_socket: Socket<Connection>, cause: Error) =>
          self.#finish(new Failure("unavailable", `Lost the engine at ${shown}`, { cause })),
      },
    };
    try {
      self.#socket =
        "unixPath" in address
          ? await Bun.connect<Connection>({ unix: address.unixPath, ...options })
          : await Bun.connect<Connection>({
              hostname: address.host,
              port: address.port,
              ...(address.tls ? { tls: address.tls } : {}),
              ...options,
            });
    } catch (cause) {
      throw refused(shown, cause);
    }
    return self;
  }

  #received(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > queuedBytesMax) this.#socket?.pause();
    this.#wakeReader?.();
  }

  #finish(failure: Failure | undefined): void {
    this.#ended = true;
    this.#failure ??= failure;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  /** The next bytes; undefined at the end of the stream. One reader at a time. */
  async read(): Promise<Uint8Array | undefined> {
    while (this.#queue.length === 0) {
      if (this.#failure) throw this.#failure;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
      this.#wakeReader = undefined;
    }
    const bytes = this.#queue.shift()!;
    const wasFull = this.#queuedBytes > queuedBytesMax;
    this.#queuedBytes -= bytes.length;
    if (wasFull && this.#queuedBytes <= queuedBytesMax) this.#socket?.resume();
    return bytes;
  }

  /** Puts bytes back that belong to the next reader. */
  unread(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#queue.unshift(bytes);
    this.#queuedBytes += bytes.length;
  }

  /** Resolves when the kernel took all of it. One writer at a time. @throws Failure "unavailable" */
  async write(bytes: Uint8Array | string): Promise<void> {
    let rest = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    for (;;) {
      const written = this.#socket?.write(rest) ?? -1;
      if (written === rest.length) return void (await this.#socket?.flushed?.());
      if (written < 0 || (this.#ended && this.#failure)) {
        throw this.#failure ?? new Failure("unavailable", "The engine closed the connection");
      }
      rest = rest.subarray(written);
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
      this.#wakeWriter = undefined;
    }
  }

  /** Says that no more bytes will come from this side; reading goes on. */
  closeWrite(): void {
    this.#socket?.shutdown();
  }

  /** Lets the reader fail, after what has arrived. */
  fail(cause: unknown): void {
    this.#finish(toFailure(cause));
  }

  close(): void {
    this.#finish(undefined);
    this.#socket?.terminate();
  }

  /** An idle connection must not keep the process alive. */
  idle(isIdle: boolean): void {
    if (isIdle) this.#socket?.unref();
    else this.#socket?.ref();
  }

  get isOpen(): boolean {
    return !this.#ended && this.#queue.length === 0;
  }
}

/** A program's pipes as a socket; what it says on stderr is for the user. @throws "unavailable" */
function startProgram(
  command: readonly [string, ...string[]],
  told: { data(bytes: Uint8Array): void; end(): void },
): Wire {
  const child = startChild(command);
  let resume = () => {};
  let paused: Promise<void> | undefined;
  void (async () => {
    for await (const bytes of child.stdout) {
      told.data(bytes);
      await paused;
    }
  })().then(told.end, told.end);
  return {
    write: (bytes) => {
      child.stdin.write(bytes);
      return bytes.length;
    },
    flushed: async () => await child.stdin.flush(),
    shutdown: () => void child.stdin.end(),
    terminate: () => child.kill(),
    pause: () => {
      paused = new Promise((resolve) => {
        resume = resolve;
      });
    },
    resume: () => {
      paused = undefined;
      resume();
    },
    ref: () => child.ref(),
    unref: () => child.unref(),
  };
}

function startChild([program, ...args]: readonly [string, ...string[]]) {
  try {
    return Bun.spawn([program, ...args], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  } catch (cause) {
    throw new Failure("unavailable", `Cannot run "${program}": ${(cause as Error).message}`, {
      hint: `Install ${program}`,
      cause,
    });
  }
}

function refused(shown: string, cause: unknown): Failure {
  const code = (cause as { code?: string }).code ?? "";
  if (code === "EACCES" || code === "EPERM") {
    return new Failure("denied", `Cannot connect to the engine at ${shown}: permission denied`, {
      hint: "Run the command as root, or as a member of the group that owns the socket",
      cause,
    });
  }
  return new Failure("unavailable", `Cannot connect to the engine at ${shown}. Is it running?`, {
    hint: `Start it with "lading daemon", or name another with --host`,
    cause,
  });
}
