import { dlopen, ptr, FFIType as T } from "bun:ffi";
import { closeSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { check, failureOf, lastErrno, libcPath } from "./libc.ts";

/**
 * Unix sockets as a store of open files: a descriptor that was sent and not yet received stays open for
 * as long as anybody holds the receiving end. unix(7), SCM_RIGHTS
 */
const { symbols: libc } = dlopen(libcPath, {
  socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
  socketpair: { args: [T.i32, T.i32, T.i32, T.ptr], returns: T.i32 },
  connect: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
  send: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64_fast },
  bind: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
  listen: { args: [T.i32, T.i32], returns: T.i32 },
  accept4: { args: [T.i32, T.ptr, T.ptr, T.i32], returns: T.i32 },
  sendmsg: { args: [T.i32, T.ptr, T.i32], returns: T.i64_fast },
  recvmsg: { args: [T.i32, T.ptr, T.i32], returns: T.i64_fast },
});
const [unixFamily, stream, datagram, sequence] = [1, 1, 2, 5];
const [closeOnExec, nonBlock] = [0o2000000, 0o4000];
const message = { peek: 2, doNotWait: 64, noSignal: 0x4000, closeOnExec: 0x40000000 } as const;
const [socketLevel, rights] = [1, 1];

/** Two connected sockets that keep the borders of messages. socketpair(2) */
export function socketPair(): [number, number] {
  const pair = new Int32Array(2);
  const type = sequence! | closeOnExec! | nonBlock!;
  check("create", libc.socketpair(unixFamily!, type, 0, pair), "socket pair");
  return [pair[0]!, pair[1]!];
}

/** A listening stream socket at a path of at most 107 bytes. bind(2), listen(2) */
export function listenAt(path: string): number {
  const socket = openSocket(stream!);
  try {
    const address = addressOf(path);
    check("listen at", libc.bind(socket, address, address.length), path);
    check("listen at", libc.listen(socket, 4), path);
    return socket;
  } catch (error) {
    closeSync(socket);
    throw error;
  }
}

/** A socket at a path that takes datagrams; read(2) gives one. bind(2) */
export function bindDatagrams(path: string): number {
  const socket = openSocket(datagram!);
  const address = addressOf(path);
  check("bind", libc.bind(socket, address, address.length), path);
  return socket;
}

/** A socket for datagrams to a path. connect(2) @throws "not_found" | "internal" — nobody listens */
export function connectDatagrams(path: string): number {
  const socket = openSocket(datagram!);
  try {
    const address = addressOf(path);
    check("connect to", libc.connect(socket, address, address.length), path);
    return socket;
  } catch (error) {
    closeSync(socket);
    throw error;
  }
}

/** Sends one datagram; false when there is no room for it now. send(2) */
export function sendDatagram(socket: number, bytes: Uint8Array): boolean {
  const flags = message.doNotWait | message.noSignal;
  const sent = Number(libc.send(socket, bytes, BigInt(bytes.length), flags));
  if (sent >= 0) return true;
  const errno = lastErrno();
  if (errno === 11 || errno === 105) return false;
  throw failureOf("send to", errno, `#${socket}`);
}

function openSocket(kind: number): number {
  const type = kind | closeOnExec! | nonBlock!;
  return check("create", libc.socket(unixFamily!, type, 0), "socket");
}

function addressOf(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length > 107) throw new Failure("invalid", `Cannot use the socket "${path}": too long`);
  const address = Buffer.alloc(name.length + 3);
  address.writeUInt16LE(unixFamily!, 0);
  name.copy(address, 2);
  return address;
}

/** The next connection, or undefined when none waits. accept(2) */
export function acceptConnection(socket: number): number | undefined {
  const connection = libc.accept4(socket, null, null, closeOnExec!);
  if (connection >= 0) return connection;
  const errno = lastErrno();
  if (errno === 11) return undefined;
  throw failureOf("accept on", errno, `#${socket}`);
}

/** Buffers of one sendmsg(2) or recvmsg(2): one byte of data and one descriptor. */
function header(): { message: Buffer; control: Buffer; keep: unknown[] } {
  const [data, vector, control, all] = [1, 16, 24, 56].map((size) => Buffer.alloc(size));
  vector!.writeBigUInt64LE(BigInt(ptr(data!)), 0);
  vector!.writeBigUInt64LE(1n, 8);
  all!.writeBigUInt64LE(BigInt(ptr(vector!)), 16);
  all!.writeBigUInt64LE(1n, 24);
  all!.writeBigUInt64LE(BigInt(ptr(control!)), 32);
  all!.writeBigUInt64LE(BigInt(control!.length), 40);
  return { message: all!, control: control!, keep: [data, vector] };
}

/** Sends an open file. The receiver gets a descriptor of its own. */
export function sendFile(socket: number, file: number): void {
  const { message: sent, control, keep } = header();
  control.writeBigUInt64LE(20n, 0);
  control.writeInt32LE(socketLevel!, 8);
  control.writeInt32LE(rights!, 12);
  control.writeInt32LE(file, 16);
  const result = Number(libc.sendmsg(socket, sent, message.doNotWait));
  check("send a descriptor to", result, `#${socket} (${keep.length})`);
}

/**
 * Receives an open file, or undefined when none was sent yet. With `peek` it stays in the socket as
 * well, for the next who asks.
 */
export function receiveFile(socket: number, { peek }: { peek: boolean }): number | undefined {
  const { message: received, control, keep } = header();
  const flags = message.doNotWait | message.closeOnExec | (peek ? message.peek : 0);
  const length = Number(libc.recvmsg(socket, received, flags));
  if (length < 0) {
    const errno = lastErrno();
    if (errno === 11) return undefined;
    throw failureOf("receive a descriptor from", errno, `#${socket} (${keep.length})`);
  }
  const isRights = control.readInt32LE(8) === socketLevel && control.readInt32LE(12) === rights;
  return isRights && control.readBigUInt64LE(0) >= 20n ? control.readInt32LE(16) : undefined;
}
