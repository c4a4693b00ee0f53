import { log } from "../base/mod.ts";

/**
 * Sends a datagram. The kernel reports that an earlier one met nobody (ICMP) with the next call on the
 * socket, whomever that is for: such an error says nothing of this datagram, so it is sent again.
 */
export function sendDatagram(send: () => boolean): void {
  try {
    send();
  } catch {
    try {
      send();
    } catch (error) {
      log("debug", "Cannot send a datagram", { error }); // As if it were lost on the way.
    }
  }
}

/** For sockets that must outlive such reports: without a handler, they end the process. */
export function ignoreReports(_socket: unknown, error: Error): void {
  log("debug", "A datagram met nobody", { error });
}
