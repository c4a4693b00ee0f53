import { Failure } from "../base/mod.ts";
import { failureOf } from "./libc.ts";
import {
  control,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  flag,
  type NetlinkMessage,
  type NetlinkRequest,
  readText,
} from "./netlink-message.ts";

/** A datagram socket to the kernel. `receive` waits for a bounded time. */
export interface NetlinkSocket {
  send(bytes: Uint8Array): void;
  /** One datagram; valid until the next call. @throws Failure "timeout" */
  receive(): Uint8Array;
  close(): void;
}

const extendedAckText = 1;
const dumpMessagesMax = 200_000;

/** A conversation over one socket: numbers the requests, waits for their answers, in order. */
export class Netlink implements Disposable {
  readonly #socket: NetlinkSocket;
  #sequence = 0;

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /**
   * Sends the requests in one datagram and waits until each is acknowledged. The kernel carries out
   * all of them, also those after one that failed.
   *
   * @throws Failure of the first that failed; its code comes from errno
   */
  execute(requests: readonly NetlinkRequest[]): void {
    const failures = this.attempt(requests);
    const first = failures.find((failure) => failure !== undefined);
    if (first) throw first;
  }

  /** As `execute`, but hands back what went wrong with each request. */
  attempt(requests: readonly NetlinkRequest[]): (Failure | undefined)[] {
    if (requests.length === 0) return []; // an empty datagram is no request: ENODATA
    return this.#exchange(requests, []);
  }

  #exchange(requests: readonly NetlinkRequest[], before: Uint8Array[], end?: NetlinkRequest) {
    const first = this.#sequence + 1;
    const parts = requests.map((request) =>
      encodeMessage({
        ...request,
        flags: request.flags | flag.request | flag.ack,
        sequence: this.#next(),
      }),
    );
    const after = end
      ? [encodeMessage({ ...end, flags: flag.request, sequence: this.#next() })]
      : [];
    this.#socket.send(Buffer.concat([...before, ...parts, ...after]));
    const answers = new Array<Failure | undefined>(requests.length).fill(undefined);
    let waiting = requests.length;
    while (waiting > 0) {
      for (const message of decodeMessages(this.#socket.receive())) {
        const index = message.sequence - first;
        const request = requests[index];
        if (message.type !== control.error) continue;
        const isEnclosing =
          (index === -1 && before.length > 0) || (end && index === requests.length);
        if (isEnclosing) throw failureIn(message, requests[0]!) ?? broken(requests[0]!);
        if (!request) continue; // A late answer to what timed out before.
        answers[index] = failureIn(message, request);
        waiting--;
      }
    }
    return answers;
  }

  /**
   * As `execute`, as one transaction: all or nothing. `begin` and `end` enclose it and are not
   * acknowledged; an error with either is an error of the whole.
   */
  transact(
    requests: readonly NetlinkRequest[],
    { begin, end }: { begin: NetlinkRequest; end: NetlinkRequest },
  ): void {
    if (requests.length === 0) return;
    const opening = encodeMessage({ ...begin, flags: flag.request, sequence: this.#next() });
    const failures = this.#exchange(requests, [opening], end);
    const first = failures.find((failure) => failure !== undefined);
    if (first) throw first;
  }

  /** Asks for one thing. @throws Failure "not_found" and the like */
  get(request: NetlinkRequest): NetlinkMessage {
    return this.#ask(request, 0)[0]!;
  }

  /** Asks for all things of a kind; several datagrams make one answer. */
  dump(request: NetlinkRequest): NetlinkMessage[] {
    // A table that changed meanwhile gives an inconsistent dump: ask again, a few times.
    for (let left = 3; ; left--) {
      const messages = this.#ask(request, flag.dump);
      const torn = messages.some((message) => message.flags & flag.dumpInterrupted);
      if (!torn || left === 0) return messages;
    }
  }

  #ask(request: NetlinkRequest, flags: number): NetlinkMessage[] {
    const sequence = this.#next();
    const all = request.flags | flag.request | flags;
    this.#socket.send(encodeMessage({ ...request, flags: all, sequence }));
    const found: NetlinkMessage[] = [];
    for (;;) {
      for (const message of decodeMessages(this.#socket.receive())) {
        if (message.sequence !== sequence) continue;
        if (message.type === control.done) return found;
        if (message.type === control.error) {
          const failure = failureIn(message, request);
          if (failure) throw failure;
          return found;
        }
        // The socket's buffer is used again by the next datagram.
        found.push({ ...message, body: Buffer.from(message.body) });
        if (!(message.flags & flag.multi)) return found;
      }
      if (found.length > dumpMessagesMax) {
        throw new Failure("exhausted", `Cannot ${request.what}: over ${dumpMessagesMax} answers`);
      }
    }
  }

  #next(): number {
    this.#sequence = this.#sequence >= 0xfff_ffff ? 1 : this.#sequence + 1;
    return this.#sequence;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const broken = ({ what, subject }: NetlinkRequest) =>
  new Failure("internal", `Cannot ${what} "${subject}": the transaction was not carried out`);

/** An acknowledgement is an error with number 0. */
function failureIn(message: NetlinkMessage, request: NetlinkRequest): Failure | undefined {
  const errno = -message.body.readInt32LE(0);
  if (errno === 0) return undefined;
  const failure = failureOf(request.what, errno, request.subject);
  const reason = extendedText(message);
  if (!reason) return failure;
  return new Failure(failure.code, `${failure.message}: ${reason}`, { cause: failure.cause });
}

/** With NETLINK_CAP_ACK the header of the request, without its body, stands before the attributes. */
function extendedText(message: NetlinkMessage): string {
  const hasAttributes = (message.flags & 0x200) !== 0;
  return hasAttributes ? readText(decodeAttributes(message.body, 20).get(extendedAckText)) : "";
}
