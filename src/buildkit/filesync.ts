/**
 * A client's folder, over a session: the client tells what is there, we ask for the files one after the
 * other, and a tar comes out, which the builder unpacks with the bounds that it has for any upload.
 * The protocol is that of https://github.com/tonistiigi/fsutil (send.go, receive.go).
 */
import { type TarFields, type TarInput, writeTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import type { OpenCall } from "./grpc.ts";
import { fileStat, packet, packetType } from "./messages.ts";
import type { Session } from "./session.ts";

const entriesMax = 1_000_000;
/** Asked for at once: several small files, or one large one. */
const windowBytes = 4 << 20;
const windowFiles = 256;

type Stat = ReturnType<typeof fileStat.decode>;

export interface Wish {
  /** `context`, `dockerfile`, or the name of another folder that the client offers. */
  readonly folder: string;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
}

/** Go's os.FileMode. */
export const goMode = {
  directory: 2 ** 31,
  symlink: 2 ** 27,
  device: 2 ** 26,
  fifo: 2 ** 25,
  socket: 2 ** 24,
  setuid: 2 ** 23,
  setgid: 2 ** 22,
  charDevice: 2 ** 21,
  sticky: 2 ** 20,
} as const;

const has = (mode: number, bit: number) => Math.floor(mode / bit) % 2 === 1;

/** The folder as a tar. @throws Failure — the client's reason, or "invalid" */
export async function* readFolder(
  session: Session,
  wish: Wish,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  using transfer = open(session, wish, signal);
  const stats = await transfer.sender.stats();
  yield* writeTar(entries(transfer.sender, stats));
  await transfer.sender.end();
}

/** The texts of small files, by their paths. @throws Failure "exhausted" — over `sizeBytesMax` each */
export async function readTexts(
  session: Session,
  wish: Wish & { readonly include: readonly string[]; readonly sizeBytesMax: number },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  using transfer = open(session, wish, signal);
  const { sender } = transfer;
  const stats = await sender.stats();
  // A client may send more than was asked for.
  const isWanted = (stat: Stat) => isFile(stat) && wish.include.includes(stat.path);
  sender.plan(stats, isWanted);
  const found = new Map<string, string>();
  for (const [id, stat] of stats.entries()) {
    if (!isWanted(stat)) continue;
    const { path } = stat;
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of sender.file(id)) {
      size += part.length;
      if (size > wish.sizeBytesMax) throw new Failure("exhausted", `"${path}" is too large`);
      parts.push(part);
    }
    found.set(path, Buffer.concat(parts).toString());
  }
  await sender.end();
  return found;
}

function open(session: Session, wish: Wish, signal: AbortSignal): Disposable & { sender: Sender } {
  const call = session.client.open("/moby.filesync.v1.FileSync/DiffCopy", metadataOf(wish));
  const cancel = () => call.cancel();
  signal.addEventListener("abort", cancel);
  const dispose = () => {
    signal.removeEventListener("abort", cancel);
    call.cancel();
  };
  return { sender: new Sender(call), [Symbol.dispose]: dispose };
}

/** Values that no header can hold are percent-encoded, and said to be so. */
function metadataOf({ folder, include = [], exclude = [] }: Wish): Record<string, string[]> {
  const found: Record<string, string[]> = { "dir-name": [folder] };
  for (const [name, values] of [
    ["include-patterns", include],
    ["exclude-patterns", exclude],
  ] as const) {
    if (values.length === 0) continue;
    const isPlain = values.every((value) => /^[ -~]*$/.test(value));
    found[name] = isPlain ? [...values] : values.map(encodeURIComponent);
    if (!isPlain) found[`${name}-encoded`] = ["1"];
  }
  return found;
}

async function* entries(sender: Sender, stats: readonly Stat[]): AsyncGenerator<TarInput, void> {
  sender.plan(stats, isFile);
  for (const [id, stat] of stats.entries()) {
    const header = headerOf(stat);
    if (header === undefined) continue;
    yield isFile(stat) ? { header, body: sender.file(id) } : { header };
  }
}

function isFile({ mode, linkName }: Stat): boolean {
  const others = [goMode.directory, goMode.symlink, goMode.device, goMode.fifo, goMode.socket];
  return linkName === "" && !others.some((bit) => has(mode, bit));
}

/** Undefined for a socket: no tar holds one. */
function headerOf(stat: Stat): TarFields | undefined {
  const { mode, path, linkName } = stat;
  if (has(mode, goMode.socket)) return undefined;
  const special =
    (has(mode, goMode.setuid) ? 0o4000 : 0) +
    (has(mode, goMode.setgid) ? 0o2000 : 0) +
    (has(mode, goMode.sticky) ? 0o1000 : 0);
  const seconds = floorDivide(stat.modTime, 1_000_000_000n);
  return {
    path,
    type: typeOf(stat),
    linkPath: linkName,
    mode: special + (mode % 0o1000),
    uid: stat.uid,
    gid: stat.gid,
    sizeBytes: isFile(stat) ? stat.size : 0,
    mtimeSeconds: Number(seconds),
    mtimeNanoseconds: Number(stat.modTime - seconds * 1_000_000_000n),
    deviceMajor: stat.deviceMajor,
    deviceMinor: stat.deviceMinor,
    xattrs: stat.xattrs,
  };
}

function floorDivide(value: bigint, by: bigint): bigint {
  return value / by - (value % by < 0n ? 1n : 0n);
}

function typeOf({ mode, linkName }: Stat): NonNullable<TarFields["type"]> {
  if (has(mode, goMode.directory)) return "directory";
  if (has(mode, goMode.symlink)) return "symlink";
  if (has(mode, goMode.fifo)) return "fifo";
  if (has(mode, goMode.device)) return has(mode, goMode.charDevice) ? "char" : "block";
  return linkName === "" ? "file" : "link";
}

/** The client's side of one transfer. */
class Sender {
  readonly #call: OpenCall;
  #stats: readonly Stat[] = [];
  #isWanted = isFile;
  /** The next to be asked for, if it is wanted. */
  #next = 0;
  #askedBytes = 0;
  /** Pieces of files that were asked for: undefined at a file's end. */
  readonly #pieces = new Map<number, (Uint8Array | undefined)[]>();

  constructor(call: OpenCall) {
    this.#call = call;
  }

  async #packet() {
    const { value } = await this.#call.messages.next();
    if (!value) throw new Failure("invalid", "The client's files ended too early");
    const found = packet.decode(value);
    if (found.type === packetType.error) {
      throw new Failure("invalid", `The client cannot send: ${Buffer.from(found.data)}`);
    }
    return found;
  }

  /** All that is there, in the client's order: a file's place is its number. */
  async stats(): Promise<Stat[]> {
    const found: Stat[] = [];
    for (;;) {
      const { type, stat } = await this.#packet();
      if (type !== packetType.stat) throw new Failure("invalid", "The client's files are no list");
      if (stat.length === 0) return found;
      if (found.length >= entriesMax) {
        throw new Failure("exhausted", `Cannot take the context: over ${entriesMax} files`);
      }
      found.push(fileStat.decode(stat));
    }
  }

  /** What will be read, in this order: of the client's list, not of one of our own beside it. */
  plan(stats: readonly Stat[], isWanted: (stat: Stat) => boolean): void {
    this.#stats = stats;
    this.#isWanted = isWanted;
  }

  /** Asks for as many of the next files as may be in memory. */
  async #ask(): Promise<void> {
    const asked: Uint8Array[] = [];
    for (; this.#next < this.#stats.length; this.#next++) {
      const stat = this.#stats[this.#next]!;
      if (!this.#isWanted(stat)) continue;
      if (this.#pieces.size >= windowFiles) break;
      if (this.#pieces.size > 0 && this.#askedBytes + stat.size > windowBytes) break;
      this.#askedBytes += stat.size;
      this.#pieces.set(this.#next, []);
      asked.push(packet.encode({ type: packetType.request, id: this.#next }));
    }
    if (asked.length > 0) await this.#call.write(...asked);
  }

  /** A file's bytes; to be read in the order of the plan. */
  async *file(id: number): AsyncGenerator<Uint8Array, void> {
    // Asking for half a window at a time makes fewer, larger writes.
    if (this.#pieces.size <= windowFiles / 2) await this.#ask();
    const pieces = this.#pieces.get(id);
    if (!pieces) throw new Error("Broken invariant: a file is read out of turn");
    for (;;) {
      while (pieces.length === 0) await this.#receive();
      const piece = pieces.shift();
      if (piece === undefined) break;
      yield piece;
    }
    this.#pieces.delete(id);
    this.#askedBytes -= this.#stats[id]!.size;
  }

  async #receive(): Promise<void> {
    const { type, id, data } = await this.#packet();
    const pieces = this.#pieces.get(id);
    if (type !== packetType.data || !pieces) {
      throw new Failure("invalid", "The client sent what was not asked for");
    }
    pieces.push(data.length === 0 ? undefined : data);
  }

  async end(): Promise<void> {
    await this.#call.write(packet.encode({ type: packetType.end }));
    const { type } = await this.#packet();
    if (type !== packetType.end)
      throw new Failure("invalid", "The client sent more than its files");
    this.#call.end();
  }
}
