import { closeSync, openSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import {
  acceptConnection,
  listenAt,
  neverWait,
  openTerminal,
  openTerminalPeer,
  receiveFile,
  sendFile,
  socketPair,
  takeFile,
} from "../sys/mod.ts";
import type { Pump } from "./pump.ts";
import { watcherFile } from "./watcher.ts";

const readable = 1;
const arrivalTimeoutMs = 5_000;

/**
 * The outer side of a terminal, and how it outlives us: the OCI runtime sends it to a socket, whose
 * listening side the watcher holds too, and we put a copy into a socket that nobody reads, whose
 * receiving side the watcher holds as well. A later daemon takes the sockets from the watcher.
 */
export class Terminal {
  /** For reading, for writing, and for its size. Whoever takes one closes it. */
  readonly outer: number;
  readonly typing: number;
  readonly control: number;
  /** Held so that the outer side never reports an end while we read: that would be reported for ever. */
  readonly #peer: number;

  private constructor(store: number) {
    const copies = [1, 2, 3].map(() => receiveFile(store, { peek: true }));
    const [outer, typing, control] = copies;
    if (outer === undefined || typing === undefined || control === undefined) {
      throw new Failure("internal", "Cannot take over a terminal: its socket is empty");
    }
    neverWait(outer);
    this.#peer = openTerminalPeer(outer);
    this.outer = outer;
    this.typing = typing;
    this.control = control;
  }

  /** Waits for the runtime to send the terminal. @throws "timeout" */
  static async arrive(pump: Pump, sockets: TerminalSockets): Promise<Terminal> {
    const token = pump.number();
    const deadline = Date.now() + arrivalTimeoutMs;
    for (;;) {
      const terminal = sockets.take();
      if (terminal) return terminal;
      if (Date.now() > deadline) throw new Failure("timeout", "Cannot get the terminal: none came");
      await Promise.race([pump.ready(token, sockets.listener, readable), Bun.sleep(100)]);
      pump.forget(token, sockets.listener);
    }
  }

  /** Takes the terminal back from the watcher of an earlier daemon. @throws "timeout" | "internal" */
  static async retake(pump: Pump, watcher: number): Promise<Terminal> {
    const files = [watcherFile.listener, watcherFile.store, watcherFile.sender];
    const [listener, store, sender] = files.map((file) => takeFile(watcher, file));
    if (listener === undefined || store === undefined || sender === undefined) {
      throw new Failure("internal", "Cannot take over a terminal: its watcher is gone");
    }
    using sockets = new TerminalSockets(listener, { store, sender });
    const kept = sockets.kept();
    return kept ?? (await Terminal.arrive(pump, sockets));
  }

  static fromStore(store: number): Terminal {
    return new Terminal(store);
  }

  close(): void {
    closeSync(this.control);
    closeSync(this.#peer);
  }
}

/** The listening socket, and the pair that keeps the terminal. */
export class TerminalSockets implements Disposable {
  readonly listener: number;
  /** The receiving side, and the sending side, for the watcher to hold. */
  readonly store: number;
  readonly sender: number;

  constructor(listener: number, { store, sender }: { store: number; sender: number }) {
    this.listener = listener;
    this.store = store;
    this.sender = sender;
  }

  /** Makes both; `path` of the listener is relative to `directory`, which may have any length. */
  static make(directory: string, path: string): TerminalSockets {
    const folder = openSync(directory, "r");
    try {
      const listener = listenAt(`/proc/self/fd/${folder}/${path}`);
      const [sender, store] = socketPair();
      return new TerminalSockets(listener, { sender, store });
    } finally {
      closeSync(folder);
    }
  }

  /**
   * Puts a new terminal away, and returns the path of its inner side. Bytes pass it as they are: it stands
   * before the container's own.
   */
  give(size: { readonly rows: number; readonly columns: number } | undefined): string {
    const { outer, path } = openTerminal(size);
    sendFile(this.sender, outer);
    closeSync(outer);
    return path;
  }

  /** The terminal that was put away already. */
  kept(): Terminal | undefined {
    const probe = receiveFile(this.store, { peek: true });
    if (probe === undefined) return undefined;
    closeSync(probe);
    return Terminal.fromStore(this.store);
  }

  /** The terminal that has just come; a copy is put away at once. */
  take(): Terminal | undefined {
    const connection = acceptConnection(this.listener);
    if (connection === undefined) return undefined;
    try {
      const outer = receiveFile(connection, { peek: false });
      if (outer === undefined) return undefined;
      sendFile(this.sender, outer);
      closeSync(outer);
      return Terminal.fromStore(this.store);
    } finally {
      closeSync(connection);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.listener);
    closeSync(this.store);
    closeSync(this.sender);
  }
}
