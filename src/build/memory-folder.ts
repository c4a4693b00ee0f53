import { mkdir, rm } from "node:fs/promises";
import { mountFlag, mountNow, unmountNow } from "../sys/mod.ts";

/** A folder whose content never reaches a disk's files; gone with its scope. */
export interface MemoryFolder extends AsyncDisposable {
  readonly path: string;
}

/** Mounts a tmpfs at `path`, made when absent. `options` as tmpfs(5) has them. */
export async function openMemoryFolder(path: string, options: string): Promise<MemoryFolder> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  mountTmpfs(path, options);
  const dispose = async () => {
    unmountNow(path, { detach: true });
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
  };
  return { path, [Symbol.asyncDispose]: dispose };
}

/** Mounts a tmpfs that holds plain data. tmpfs(5) */
export function mountTmpfs(target: string, data: string): void {
  const flags = mountFlag.noSuid | mountFlag.noDev | mountFlag.noExec;
  mountNow({ type: "tmpfs", source: "lading-build", target, flags, data });
}
