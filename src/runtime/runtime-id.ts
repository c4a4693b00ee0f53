import { containerDirectory, type Host } from "./host.ts";
import { readText } from "./watcher.ts";

/** In a container's directory, where the OCI runtime knows the container by another ID than ours. */
export const runtimeIdFile = "id";

/** What the OCI runtime calls a container. */
export function runtimeId(host: Host, id: string): string {
  return readText(`${containerDirectory(host, id)}/${runtimeIdFile}`) || id;
}
