/** Results that go to the client's machine, over its session. */
import { constants } from "node:fs";
import { lstat, open as openFile, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../base/mod.ts";
import type { OpenCall } from "./grpc.ts";
import { bytesMessage, fileStat, packet, packetType } from "./messages.ts";
import { goMode } from "./sent-stat.ts";
import type { Session } from "./session.ts";

const method = "/moby.filesync.v1.FileSend/DiffCopy";
const chunkBytes = 32 << 10;
const entriesMax = 1_000_000;

/** `output` is the result's number among all that the client asked for. */
function open(session: Session, output: number): OpenCall {
  const metadata = { "buildkit-attachable-exporter-id": String(output) };
  if (session.methods.has(method)) return session.client.open(method, metadata);
  throw new Failure("invalid", "Cannot send the result: the client takes no files");
}

/** Writes the file that the client has opened. */
export async function sendFile(
  session: Session,
  bytes: AsyncIterable<Uint8Array>,
  output: number,
): Promise<void> {
  const call = open(session, output);
  try {
    for await (const data of bytes) {
      for (let at = 0; at < data.length; at += chunkBytes) {
        const chunk = data.subarray(at, at + chunkBytes);
        await call.write(bytesMessage.encode({ data: chunk }));
      }
    }
    call.end();
    for await (const _ of call.messages); // its end tells whether all was written
  } finally {
    call.cancel();
  }
}

/** Copies a folder of ours, in which nobody else writes, into the client's: as `readFolder`, turned round. */
export async function sendFolder(session: Session, root: string, output: number): Promise<void> {
  const call = open(session, output);
  try {
    /** What the client may ask for, by number: files alone, for what a link leads to is the host's. */
    const files: (string | undefined)[] = [];
    await tellAll(call, root, files);
    await call.write(packet.encode({ type: packetType.stat }));
    for await (const message of call.messages) {
      const { type, id, data } = packet.decode(message);
      if (type === packetType.error) {
        throw new Failure("invalid", `The client cannot write: ${Buffer.from(data)}`);
      }
      if (type === packetType.end) {
        await call.write(packet.encode({ type: packetType.end }));
        break;
      }
      if (type !== packetType.request || files[id] === undefined) {
        throw new Failure("invalid", "The client asked for what there is not");
      }
      await sendOne(call, id, join(root, files[id]));
    }
    call.end();
  } finally {
    call.cancel();
  }
}

async function sendOne(call: OpenCall, id: number, path: string): Promise<void> {
  const type = packetType.data;
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
  await using file = await openFile(path, flags);
  for await (const data of file.createReadStream({ highWaterMark: chunkBytes, autoClose: false })) {
    await call.write(packet.encode({ type, id, data }));
  }
  await call.write(packet.encode({ type, id }));
}

/** Every entry below `root`, a folder before what is in it, by name. */
async function tellAll(call: OpenCall, root: string, files: (string | undefined)[]): Promise<void> {
  const walk = async (folder: string): Promise<void> => {
    for (const name of (await readdir(join(root, folder))).sort()) {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (files.length >= entriesMax) {
        throw new Failure("exhausted", `Cannot send the result: over ${entriesMax} files`);
      }
      const kind = await tell(call, root, path);
      files.push(kind === "file" ? path : undefined);
      if (kind === "folder") await walk(path);
    }
  };
  await walk("");
}

async function tell(
  call: OpenCall,
  root: string,
  path: string,
): Promise<"file" | "folder" | "other"> {
  const found = await lstat(join(root, path));
  const isLink = found.isSymbolicLink();
  const isDevice = found.isCharacterDevice() || found.isBlockDevice();
  const kind =
    (found.isDirectory() ? goMode.directory : 0) +
    (isLink ? goMode.symlink : 0) +
    (found.isFIFO() ? goMode.fifo : 0) +
    (found.isCharacterDevice() ? goMode.device + goMode.charDevice : 0) +
    (found.isBlockDevice() ? goMode.device : 0);
  const special =
    (found.mode & 0o4000 ? goMode.setuid : 0) +
    (found.mode & 0o2000 ? goMode.setgid : 0) +
    (found.mode & 0o1000 ? goMode.sticky : 0);
  const stat = fileStat.encode({
    path,
    mode: kind + special + (found.mode & 0o777),
    uid: found.uid,
    gid: found.gid,
    size: found.isFile() ? found.size : 0,
    modTime: BigInt(Math.round(found.mtimeMs)) * 1_000_000n,
    linkName: isLink ? await readlink(join(root, path)) : "",
    // As the kernel packs them, https://man7.org/linux/man-pages/man3/makedev.3.html
    deviceMajor: isDevice ? (found.rdev >> 8) & 0xfff : 0,
    deviceMinor: isDevice ? (found.rdev & 0xff) | ((found.rdev >> 12) & 0xfff00) : 0,
  });
  await call.write(packet.encode({ type: packetType.stat, stat }));
  return found.isDirectory() ? "folder" : found.isFile() ? "file" : "other";
}
