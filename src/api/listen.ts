/** Sockets that the server listens on. */
import { chmodSync, chownSync, mkdirSync, readFileSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket, connect as tryConnect } from "node:net";
import { dirname } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { Failure } from "../base/mod.ts";

/** Where to listen. TLS texts in PEM; with `ca`, clients must show a certificate of it. */
export type Listen =
  | { readonly unixPath: string; readonly group?: string }
  /** A listening socket that somebody else made. */
  | { readonly fd: number }
  | {
      readonly host: string;
      readonly port: number;
      readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
    };

const unixPathBytesMax = 107;
const backlog = 1024;

/**
 * Starts to listen, and gives each connection to `take`. A stale socket file is replaced.
 * @throws Failure "conflict" — somebody listens there; "denied"; "invalid"
 */
export async function listen(
  where: Listen,
  take: (socket: Socket) => void,
): Promise<{ address: string; server: Server }> {
  const options = { allowHalfOpen: true };
  const tls = "host" in where ? where.tls : undefined;
  const server: Server = tls
    ? createTlsServer(
        { ...options, ...tls, ...(tls.ca ? { requestCert: true, rejectUnauthorized: true } : {}) },
        take,
      )
    : createServer(options, (socket) => {
        socket.setNoDelay(true);
        take(socket);
      });
  if ("unixPath" in where) {
    await prepareUnixPath(where.unixPath);
    // The socket must not be open to others between bind and chmod.
    const before = process.umask(0o177);
    try {
      await begin(server, { path: where.unixPath, backlog }, where.unixPath);
    } finally {
      process.umask(before);
    }
    openToGroup(where.unixPath, where.group);
    return { address: `unix://${where.unixPath}`, server };
  }
  if ("fd" in where) {
    await begin(server, { fd: where.fd }, `descriptor ${where.fd}`);
    return { address: `fd://${where.fd}`, server };
  }
  await begin(
    server,
    { host: where.host, port: where.port, backlog },
    `${where.host}:${where.port}`,
  );
  const bound = server.address() as { address: string; port: number };
  const host = bound.address.includes(":") ? `[${bound.address}]` : bound.address;
  return { address: `tcp://${host}:${bound.port}`, server };
}

function begin(server: Server, options: object, shown: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const code = cause.code === "EADDRINUSE" ? "conflict" : "denied";
      reject(new Failure(code, `Cannot listen on ${shown}: ${cause.message}`, { cause }));
    });
    server.listen(options, () => resolve());
  });
}

async function prepareUnixPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > unixPathBytesMax) {
    throw new Failure("invalid", `Cannot listen on ${path}: it is over ${unixPathBytesMax} bytes`);
  }
  mkdirSync(dirname(path), { recursive: true });
  if (await isAnswered(path)) {
    throw new Failure("conflict", `Cannot listen on ${path}: another engine answers there`, {
      hint: "Stop it first, or choose another --host",
    });
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw new Failure("denied", `Cannot listen on ${path}: what is there cannot be removed`, {
        cause: error,
      });
    }
  }
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = tryConnect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Mode 0660, and the group that is asked for, or docker if the host has it. @throws "invalid" */
function openToGroup(path: string, group = ""): void {
  const lines = readFileSync("/etc/group", "utf8").split("\n");
  const entry = lines.map((line) => line.split(":")).find(([name]) => name === (group || "docker"));
  const id = /^\d+$/.test(group) ? group : entry?.[2];
  if (group !== "" && id === undefined) {
    throw new Failure("invalid", `Cannot give ${path} to group "${group}": there is none`);
  }
  if (id !== undefined && process.getuid?.() === 0) chownSync(path, 0, Number(id));
  chmodSync(path, 0o660);
}
