/** A pull with its progress on stderr or stdout; `pull`, `run` and `create` use it. */

import { registryAuth } from "./credentials.ts";
import type { Client } from "./engine.ts";
import { showProgress } from "./progress.ts";
import { readReference } from "./reference.ts";

export interface PullOptions {
  readonly platform: string;
  readonly quiet: boolean;
  /** Progress goes to stderr, since stdout belongs to the container. */
  readonly isForRun: boolean;
  /** All tags of the repository. */
  readonly allTags?: boolean;
  readonly configFolder?: string;
}

/** Pulls `image`; without a tag it is "latest". */
export async function pullImage(
  client: Client,
  image: string,
  options: PullOptions,
): Promise<void> {
  const { platform, quiet, isForRun, allTags = false } = options;
  const { name, tag } = readReference(image);
  const auth = await registryAuth(name, options.configFolder);
  const messages = await client.images.pull(
    { fromImage: name, platform, ...(allTags ? {} : { tag: tag ?? "latest" }) },
    auth ? { auth } : {},
  );
  await showProgress(messages, { quiet, stream: isForRun ? 2 : 1 });
}
