import type { NetlinkSocket } from "./netlink.ts";
import {
  attribute,
  control,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  flag,
  type NetlinkMessage,
  readText,
  text,
  uint32,
} from "./netlink-message.ts";

const [newLink, deleteLink, getLink] = [16, 17, 18];
const name = 3;
const [noDevice, exists] = [19, 17];

/**
 * A kernel that knows links by name, for tests of the conversation: it acknowledges, refuses with
 * errno, and answers dumps in datagrams of two links each. `noise` is sent before each answer.
 */
export function fakeKernel({ noise = [] as Uint8Array[], tornDumps = 0 } = {}): NetlinkSocket & {
  readonly links: Map<string, number>;
  readonly received: NetlinkMessage[];
} {
  const links = new Map([["lo", 1]]);
  const received: NetlinkMessage[] = [];
  const answers: Uint8Array[] = [];
  let torn = tornDumps;
  const say = (message: Partial<NetlinkMessage> & { body: Buffer }, sequence: number) =>
    encodeMessage({ type: newLink, flags: 0, sequence, ...message });
  const acknowledge = (request: NetlinkMessage, errno: number) => {
    const body = Buffer.alloc(20);
    body.writeInt32LE(-errno, 0);
    return say({ type: control.error, body }, request.sequence);
  };
  const describe = (link: string) => {
    const head = Buffer.alloc(16);
    head.writeInt32LE(links.get(link)!, 4);
    return Buffer.concat([
      head,
      text(name, link),
      uint32(4, 1500),
      attribute(1, Buffer.alloc(6, 2)),
    ]);
  };
  const dump = (request: NetlinkMessage) => {
    const flags = flag.multi | (torn-- > 0 ? flag.dumpInterrupted : 0);
    const parts = [...links.keys()].map((link) =>
      say({ flags, body: describe(link) }, request.sequence),
    );
    parts.push(say({ type: control.done, flags, body: Buffer.alloc(4) }, request.sequence));
    for (let at = 0; at < parts.length; at += 2)
      answers.push(Buffer.concat(parts.slice(at, at + 2)));
  };
  const change = (request: NetlinkMessage): number => {
    const link = readText(decodeAttributes(request.body, 16).get(name));
    const isThere = links.has(link);
    if (request.type === newLink) {
      if (isThere && request.flags & flag.exclusive) return exists;
      links.set(link, links.get(link) ?? links.size + 1);
      return 0;
    }
    return links.delete(link) ? 0 : noDevice;
  };
  const handle = (request: NetlinkMessage) => {
    received.push(request);
    answers.push(...noise);
    // What encloses a transaction has the head of nfnetlink alone, and is not acknowledged.
    if (request.body.length === 4) return;
    if (request.type === getLink && (request.flags & flag.dump) === flag.dump) return dump(request);
    if (request.type === getLink) {
      const link = readText(decodeAttributes(request.body, 16).get(name));
      if (!links.has(link)) return void answers.push(acknowledge(request, noDevice));
      return void answers.push(say({ body: describe(link) }, request.sequence));
    }
    if (request.type !== newLink && request.type !== deleteLink) return;
    answers.push(acknowledge(request, change(request)));
  };
  return {
    links,
    received,
    send: (bytes) => {
      for (const request of decodeMessages(bytes)) handle(request);
    },
    receive: () => {
      const answer = answers.shift();
      if (!answer) throw new Error("The fake kernel has nothing to say");
      return answer;
    },
    close() {},
  };
}
