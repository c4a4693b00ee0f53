/** Whether a TCP connection can be made, tried from a network namespace. */
import { type NetworkNamespace, withinNamespace } from "../sys/mod.ts";

const waitMs = 1_500;

/** Connects and closes at once. The socket is made before this thread leaves the namespace again. */
export async function probe(
  namespace: NetworkNamespace | undefined,
  hostname: string,
  port: number,
): Promise<"open" | "refuses connections" | "does not answer"> {
  const { promise, resolve } = Promise.withResolvers<"open" | "refuses connections">();
  const connect = () => {
    Bun.connect({
      hostname,
      port,
      socket: {
        open(socket) {
          resolve("open");
          socket.terminate();
        },
        data() {},
        connectError: () => resolve("refuses connections"),
      },
    }).catch(() => resolve("refuses connections"));
  };
  if (namespace) withinNamespace(namespace, connect);
  else connect();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"does not answer">((settle) => {
    timer = setTimeout(() => settle("does not answer"), waitMs);
  });
  const answer = await Promise.race([promise, late]);
  clearTimeout(timer);
  return answer;
}
