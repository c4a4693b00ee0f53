import { dlopen, FFIType as T } from "bun:ffi";
import { Failure } from "../base/mod.ts";
import { check, errnoName, failureOf, lastErrno, libcPath } from "./libc.ts";
import { Netlink, type NetlinkSocket } from "./netlink.ts";

const { symbols: libc } = dlopen(libcPath, {
  socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
  setsockopt: { args: [T.i32, T.i32, T.i32, T.ptr, T.u32], returns: T.i32 },
  send: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64_fast },
  recv: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64_fast },
  close: { args: [T.i32], returns: T.i32 },
});

const family = { rtnetlink: 0, netfilter: 12 } as const;
const [afNetlink, sockRaw, closeOnExec] = [16, 3, 0o2000000];
const [solSocket, receiveTimeout] = [1, 20];
const [solNetlink, capAck, extAck, strictCheck] = [270, 10, 11, 12];
/** The kernel fills dumps up to 32 KiB a datagram when the reader offers that much. */
const receiveBytesMax = 64 << 10;

// One buffer for all sockets: each answer is read to its end before anything else is received.
const buffer = Buffer.alloc(receiveBytesMax);

/**
 * Opens a conversation with the kernel in the network namespace the thread is in now: netlink(7).
 * Calls block, for at most `timeoutMs` each; the kernel answers in microseconds.
 */
export function openNetlink(
  protocol: keyof typeof family = "rtnetlink",
  { timeoutMs = 2_000 }: { timeoutMs?: number } = {},
): Netlink {
  return new Netlink(openSocket(protocol, timeoutMs));
}

function openSocket(protocol: keyof typeof family, timeoutMs: number): NetlinkSocket {
  const fd = check(
    "open a socket of",
    libc.socket(afNetlink, sockRaw | closeOnExec, family[protocol]),
    "netlink",
  );
  const timeout = new BigInt64Array([
    BigInt(Math.floor(timeoutMs / 1_000)),
    BigInt((timeoutMs % 1_000) * 1_000),
  ]);
  check("set a timeout on", libc.setsockopt(fd, solSocket, receiveTimeout, timeout, 16), "netlink");
  const on = new Int32Array([1]);
  // Better error texts and stricter filters; older kernels do without.
  for (const option of [capAck, extAck, strictCheck]) {
    libc.setsockopt(fd, solNetlink, option, on, 4);
  }
  let isOpen = true;
  return {
    send(bytes) {
      const sent = libc.send(fd, bytes, bytes.length, 0);
      if (Number(sent) !== bytes.length) throw failureOf("send to", lastErrno(), "netlink");
    },
    receive() {
      for (;;) {
        const length = Number(libc.recv(fd, buffer, receiveBytesMax, 0));
        if (length >= 0) return buffer.subarray(0, length);
        const errno = lastErrno();
        const name = errnoName(errno);
        if (name === "EINTR") continue;
        if (name !== "EAGAIN") throw failureOf("receive from", errno, "netlink");
        throw new Failure("timeout", `Cannot hear from the kernel within ${timeoutMs} ms: netlink`);
      }
    },
    close() {
      if (isOpen) libc.close(fd);
      isOpen = false;
    },
  };
}
