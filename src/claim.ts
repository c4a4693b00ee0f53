/**
 * What one engine alone may use: its data root, its exec root and its bridge. An engine removes what it
 * does not know there when it starts; on another's, that would be the other's running containers.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { Failure, fileFailure, isFailure } from "./base/mod.ts";
import { lockFile } from "./sys/mod.ts";

const hint =
  "Give this one its own --host, --data-root, --exec-root and --bridge, or stop the other";

/**
 * Claims all three until it is disposed or the process ends, however it ends. `locks` is the folder
 * with the bridges' lock files; a bridge is claimed for this network namespace.
 * @throws Failure "conflict" — another engine has one of them; "invalid" — the data root is a registry's
 */
export function claimRoots(
  { dataRoot, execRoot, bridge }: { dataRoot: string; execRoot: string; bridge: string },
  locks = "/run/lading-bridges",
): Disposable {
  if (existsSync(`${dataRoot}/registry`) && !existsSync(`${dataRoot}/image`)) {
    throw new Failure("invalid", `Cannot use "${dataRoot}": it is the data root of a registry`, {
      hint: "Give the engine a --data-root of its own",
    });
  }
  makeRoot("data-root", dataRoot, 0o710);
  if (dataRoot !== execRoot) closeToOthers(dataRoot);
  makeRoot("exec-root", execRoot, 0o711);
  mkdirSync(locks, { recursive: true, mode: 0o700 });
  const namespace = statSync("/proc/self/ns/net").ino;
  const held: Disposable[] = [];
  const release = () => {
    for (const each of held) each[Symbol.dispose]();
  };
  try {
    held.push(claim(`${dataRoot}/lock`, `data root "${dataRoot}"`));
    if (execRoot !== dataRoot) held.push(claim(`${execRoot}/lock`, `exec root "${execRoot}"`));
    held.push(claim(`${locks}/${bridge}.${namespace}`, `bridge "${bridge}"`));
  } catch (cause) {
    release();
    throw cause;
  }
  return { [Symbol.dispose]: release };
}

function makeRoot(flag: "data-root" | "exec-root", path: string, mode: number): void {
  try {
    mkdirSync(path, { recursive: true, mode });
  } catch (cause) {
    throw fileFailure(`make the ${flag.replace("-", " ")} "${path}"`, cause, {
      hint: `Name another folder with --${flag}`,
    });
  }
}

/**
 * Containers can leave programs in the data root that are setuid root on the disk: no other user of the host
 * may come by one. A folder that holds what is not ours is left as it is.
 */
function closeToOthers(dataRoot: string): void {
  const isOurs = existsSync(`${dataRoot}/lading.db`) || readdirSync(dataRoot).length === 0;
  if (isOurs) chmodSync(dataRoot, 0o710);
}

function claim(path: string, what: string): Disposable {
  try {
    return lockFile(path);
  } catch (cause) {
    if (!isFailure(cause, "conflict")) throw cause;
    throw new Failure("conflict", `Cannot start an engine: another one uses the ${what}`, {
      hint,
      cause,
    });
  }
}
