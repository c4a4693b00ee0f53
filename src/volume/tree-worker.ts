/** The thread that walks trees for the volume store: it may block as long as it likes. */
import { toFailure } from "../base/mod.ts";
import { copyTree, measureTree } from "./copy-tree.ts";
import type { TreeAnswer, TreeJob } from "./tree-thread.ts";

declare const self: {
  onmessage: ((event: MessageEvent<TreeJob>) => void) | null;
  postMessage(message: TreeAnswer): void;
};

self.onmessage = ({ data }) => {
  try {
    if (data.kind === "copy") copyTree(data.rootfs, data.path, data);
    self.postMessage({ bytes: data.kind === "measure" ? measureTree(data.path) : 0 });
  } catch (error) {
    const { code, message } = toFailure(error);
    self.postMessage({ code, message });
  }
};
