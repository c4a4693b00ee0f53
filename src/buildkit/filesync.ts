/**
 * A client's folder, over a session: the client tells what is there, we ask for the files one after the
 * other, and a tar comes out, which the builder unpacks with the bounds that it has for any upload.
 * The protocol is that of https://github.com/tonistiigi/fsutil (send.go, receive.go).
 */
import { type TarInput, writeTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import type { OpenCall } from "./grpc.ts";
import { fileStat, packet, packetType } from "./messages.ts";
import { headerOf, isFile, type Stat } from "./sent-stat.ts";
import type { Session } from "./session.ts";

const entriesMax = 1_000_000;
/** Asked for at once: several small files, or one large one. */
const windowBytes = 4 << 20;
const windowFiles = 256;

export interface Wish {
  /** `context`, `dockerfile`, or the name of another folder that the client offers. */
  readonly folder: string;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
}

/** The folder as a tar. @throws Failure — the client's reason, or "invalid" */
export async function* readFolder(
  session: Session,
  wish: Wish,
  { signal, isWanted }: { signal: AbortSignal; isWanted?: (path: string) => boolean },
): AsyncGenerator<Uint8Array, void> {
  using transfer = await Transfer.open(session, wish, signal);
  yield* transfer.tar(isWanted ? { isWanted } : {});
  await transfer.end();
}

/** The texts of small files, by their paths. @throws Failure "exhausted" — over `sizeBytesMax` each */
export async function readTexts(
  session: Session,
  wish: Wish & { readonly include: readonly string[]; readonly sizeBytesMax: number },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  using transfer = await Transfer.open(session, wish, signal);
  // A client may send more than was asked for.
  const wanted = [...transfer.stats.entries()].filter(
    ([, stat]) => isFile(stat) && wish.include.includes(stat.path),
  );
  const found = new Map<string, string>();
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const [id, part] of transfer.files(wanted.map(([id]) => id))) {
    const { path } = transfer.stats[id]!;
    if (part === undefined) {
      found.set(path, Buffer.concat(parts.splice(0)).toString());
      size = 0;
      continue;
    }
    size += part.length;
    if (size > wish.sizeBytesMax) throw new Failure("exhausted", `"${path}" is too large`);
    parts.push(part);
  }
  await transfer.end();
  return found;
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

/** One transfer: what is there is known, and can be asked for. */
export class Transfer implements Disposable {
  readonly #call: OpenCall;
  readonly #signal: AbortSignal;
  readonly #cancel: () => void;
  #stats: readonly Stat[] = [];
  #plan: readonly number[] = [];
  #next = 0;
  #askedBytes = 0;
  /** Pieces of files that were asked for: undefined at a file's end. */
  readonly #pieces = new Map<number, (Uint8Array | undefined)[]>();

  private constructor(call: OpenCall, signal: AbortSignal) {
    this.#call = call;
    this.#signal = signal;
    this.#cancel = () => call.cancel();
    signal.addEventListener("abort", this.#cancel);
  }

  /** @throws Failure — the client's reason, or "invalid" | "exhausted" */
  static async open(session: Session, wish: Wish, signal: AbortSignal): Promise<Transfer> {
    const call = session.client.open("/moby.filesync.v1.FileSync/DiffCopy", metadataOf(wish));
    const transfer = new Transfer(call, signal);
    try {
      transfer.#stats = await transfer.#list();
    } catch (error) {
      transfer[Symbol.dispose]();
      throw error;
    }
    return transfer;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#cancel);
    this.#cancel();
  }

  /** All that is there, in the client's order: a file's place is its number. */
  get stats(): readonly Stat[] {
    return this.#stats;
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

  async #list(): Promise<Stat[]> {
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

  /** What is wanted as a tar; `digests` is told the SHA-256 of each file, hexadecimal. */
  async *tar({
    isWanted = () => true,
    digests,
  }: {
    isWanted?: (path: string) => boolean;
    digests?: Map<number, string>;
  }): AsyncGenerator<Uint8Array, void> {
    this.#begin(
      this.#stats.flatMap((stat, id) => (isFile(stat) && isWanted(stat.path) ? [id] : [])),
    );
    const file = (id: number) => (digests ? hashed(this.#file(id), id, digests) : this.#file(id));
    const stats = this.#stats;
    function* entries(): Generator<TarInput> {
      for (const [id, stat] of stats.entries()) {
        const header = isWanted(stat.path) ? headerOf(stat) : undefined;
        if (header) yield isFile(stat) ? { header, body: file(id) } : { header };
      }
    }
    yield* writeTar(entries());
  }

  /** The bytes of these files, one after the other; undefined at each one's end. */
  async *files(
    ids: readonly number[],
  ): AsyncGenerator<[id: number, part: Uint8Array | undefined], void> {
    this.#begin(ids);
    for (const id of ids) {
      for await (const part of this.#file(id)) yield [id, part];
      yield [id, undefined];
    }
  }

  /** SHA-256 of these files, hexadecimal. */
  async hash(ids: readonly number[], digests: Map<number, string>): Promise<void> {
    this.#begin(ids);
    for (const id of ids) for await (const _ of hashed(this.#file(id), id, digests));
  }

  #begin(plan: readonly number[]): void {
    this.#plan = plan;
    this.#next = 0;
  }

  /** Asks for as many of the next files as may be in memory. */
  async #ask(): Promise<void> {
    const asked: Uint8Array[] = [];
    for (;;) {
      const id = this.#plan[this.#next];
      if (id === undefined || this.#pieces.size >= windowFiles) break;
      const { size } = this.#stats[id]!;
      if (this.#pieces.size > 0 && this.#askedBytes + size > windowBytes) break;
      this.#next += 1;
      this.#askedBytes += size;
      this.#pieces.set(id, []);
      asked.push(packet.encode({ type: packetType.request, id }));
    }
    if (asked.length > 0) await this.#call.write(...asked);
  }

  /** A file's bytes; to be read in the order of the plan. */
  async *#file(id: number): AsyncGenerator<Uint8Array, void> {
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

async function* hashed(
  file: AsyncIterable<Uint8Array>,
  id: number,
  digests: Map<number, string>,
): AsyncGenerator<Uint8Array, void> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const part of file) {
    hasher.update(part);
    yield part;
  }
  digests.set(id, hasher.digest("hex"));
}
