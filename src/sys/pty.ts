import { dlopen, FFIType as T } from "bun:ffi";
import { constants, openSync } from "node:fs";
import { check, libcPath } from "./libc.ts";

const { symbols: libc } = dlopen(libcPath, {
  ioctl: { args: [T.i32, T.u64, T.ptr], returns: T.i32 },
  tcgetattr: { args: [T.i32, T.ptr], returns: T.i32 },
  tcsetattr: { args: [T.i32, T.i32, T.ptr], returns: T.i32 },
  cfmakeraw: { args: [T.ptr], returns: T.void },
  fcntl: { args: [T.i32, T.i32, T.i64], returns: T.i32 },
});
const setWindowSize = 0x5414;
const getPeer = 0x5441;
const setLock = 0x40045431;
const getNumber = 0x80045430;
const termiosBytes = 128; // 60 are used
const { ioctl: ioctlNumber } = dlopen(libcPath, {
  ioctl: { args: [T.i32, T.u64, T.i64], returns: T.i32 },
}).symbols;
const [getFlags, setFlags, nonBlock] = [3, 4, 0o4000];

/**
 * Opens a new terminal that changes no byte: the outer side, and the path of the inner one. pts(4),
 * ioctl_tty(2), termios(3)
 */
export function openTerminal(
  size: { readonly rows: number; readonly columns: number } | undefined,
): { readonly outer: number; readonly path: string } {
  const outer = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY);
  const number = new Int32Array(1);
  check("unlock", libc.ioctl(outer, setLock, number), `terminal #${outer}`); // 0 takes the lock away
  check("number", libc.ioctl(outer, getNumber, number), `terminal #${outer}`);
  const settings = new Uint8Array(termiosBytes);
  check("read the settings of", libc.tcgetattr(outer, settings), `terminal #${outer}`);
  libc.cfmakeraw(settings);
  check("change the settings of", libc.tcsetattr(outer, 0, settings), `terminal #${outer}`);
  if (size) resizeTerminal(outer, size);
  return { outer, path: `/dev/pts/${number[0]}` };
}

/** Tells a terminal its size; its foreground processes get SIGWINCH. ioctl_tty(2), TIOCSWINSZ */
export function resizeTerminal(
  file: number,
  { rows, columns }: { rows: number; columns: number },
): void {
  const size = Uint16Array.of(rows, columns, 0, 0);
  check("resize", libc.ioctl(file, setWindowSize, size), `terminal #${file}`);
}

/**
 * Opens the inner side of a terminal by its outer side, whatever mount namespace it is in. While we hold
 * it, the outer side never says that all users are gone. ioctl_tty(2), TIOCGPTPEER
 */
export function openTerminalPeer(master: number): number {
  const readWriteQuietly = 2 | 0o400 | 0o2000000;
  return check("open the peer of", ioctlNumber(master, getPeer, readWriteQuietly), `#${master}`);
}

/** Lets reads and writes of an open file return where they would wait. fcntl(2), O_NONBLOCK */
export function neverWait(file: number): void {
  const flags = check("read the flags of", libc.fcntl(file, getFlags!, 0), `#${file}`);
  check("set the flags of", libc.fcntl(file, setFlags!, flags | nonBlock!), `#${file}`);
}
