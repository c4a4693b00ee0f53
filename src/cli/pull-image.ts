/** A pull with its progress on stderr or stdout; `pull`, `run` and `create` use it. */

import { registryAuth } from "./credentials.ts";
import type { Client } from "./engine.ts";
import { showProgress } from "./progress.ts";

export interface PullOptions {
  readonly platform: string;
  readonly quiet: boolean;
  /** Progress goes to stderr, since stdout belongs to the container. */
  readonly isForRun: boolean;
  readonly configFolder?: string;
}

/** Pulls `image`; without a tag it is "latest". */
export async function pullImage(
  client: Client,
  image: string,
  options: PullOptions,
): Promise<void> {
  const { platform, quiet, isForRun } = options;
  const { name, tag } = splitReference(image);
  const auth = await registryAuth(name, options.configFolder);
  const messages = await client.images.pull(
    { fromImage: name, tag: tag ?? "latest", platform },
    auth ? { auth } : {},
  );
  await showProgress(messages, { quiet, stream: isForRun ? 2 : 1 });
}

/** `host:5000/name:tag` apart; a digest counts as tag, as the API has it. */
export function splitReference(image: string): { name: string; tag: string | undefined } {
  const digest = image.indexOf("@");
  if (digest !== -1) return { name: image.slice(0, digest), tag: image.slice(digest + 1) };
  const colon = image.lastIndexOf(":");
  if (colon <= image.lastIndexOf("/")) return { name: image, tag: undefined };
  return { name: image.slice(0, colon), tag: image.slice(colon + 1) };
}
