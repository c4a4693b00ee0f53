/** Questions passed on to other name servers, as they came. From the host's namespace. */
const port = 53;
/** As glibc's resolver waits for one server. */
const waitMs = 4_000;
const replyBytesMax = 65_535;

/** One server's answer, or undefined when it gives none in time. */
export async function askUdp(server: string, message: Uint8Array): Promise<Uint8Array | undefined> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const timer = setTimeout(() => resolve(undefined), waitMs);
  try {
    const socket = await Bun.udpSocket({
      hostname: server.includes(":") ? "::" : "0.0.0.0",
      connect: { hostname: server, port },
      socket: {
        data(_own, reply) {
          // A reply of another question is late, or forged: whoever sends it did not see the ID.
          if (reply[0] === message[0] && reply[1] === message[1]) resolve(Buffer.from(reply));
        },
        error: () => resolve(undefined), // Nobody listens there.
      },
    });
    try {
      socket.send(message);
      return await promise;
    } finally {
      socket.close();
    }
  } catch {
    return undefined; // No route to it: the next server may have one.
  } finally {
    clearTimeout(timer);
  }
}

/** The same over TCP, for answers that a datagram does not hold. */
export async function askTcp(server: string, message: Uint8Array): Promise<Uint8Array | undefined> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const timer = setTimeout(() => resolve(undefined), waitMs);
  let received = Buffer.alloc(0);
  try {
    const socket = await Bun.connect({
      hostname: server,
      port,
      socket: {
        data(_own, chunk) {
          received = Buffer.concat([received, chunk]);
          if (received.length < 2) return;
          const length = received.readUInt16BE(0);
          if (received.length >= 2 + length) resolve(received.subarray(2, 2 + length));
          else if (received.length > replyBytesMax + 2) resolve(undefined);
        },
        close: () => resolve(undefined),
        error: () => resolve(undefined),
      },
    });
    try {
      const head = Buffer.alloc(2);
      head.writeUInt16BE(message.length);
      socket.write(Buffer.concat([head, message]));
      return await promise;
    } finally {
      socket.end();
    }
  } catch {
    return undefined; // Refused, or no route.
  } finally {
    clearTimeout(timer);
  }
}
