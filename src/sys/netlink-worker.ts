import { toFailure } from "../base/mod.ts";
import type { NetlinkRequest } from "./netlink-message.ts";
import { openNetlink } from "./netlink-socket.ts";
import { enterNamespace } from "./netns.ts";

declare const self: Worker;

/** One request at a time: enters the namespace, says it to the kernel, answers with what failed. */
self.onmessage = ({ data }: MessageEvent<{ namespaceFd: number; requests: NetlinkRequest[] }>) => {
  try {
    enterNamespace({ fd: data.namespaceFd, inode: 0, path: "" });
    // A structured clone makes plain bytes of Buffers, which is what messages are made from.
    using netlink = openNetlink("rtnetlink", { timeoutMs: 30_000 });
    const failures = netlink.attempt(data.requests);
    self.postMessage(failures.map((failure) => failure && { ...plain(failure) }));
  } catch (error) {
    self.postMessage(data.requests.map(() => plain(error)));
  }
};

function plain(error: unknown) {
  const { code, message } = toFailure(error);
  return { code, message };
}
