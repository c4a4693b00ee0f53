/** What `create` and `run` share: the image is pulled when it is missing, the ID is written down. */
import type { CreateBody } from "../api/schema.ts";
import { Failure, isFailure } from "../base/mod.ts";
import { isAnswer } from "./complaint.ts";
import type { Client } from "./engine.ts";
import { complain } from "./output.ts";
import { withTag } from "./reference.ts";

export interface Creation {
  readonly name: string;
  readonly platform: string;
  /** always, missing or never. */
  readonly pull: string;
  readonly quiet: boolean;
  readonly cidfile: string;
}

/** Creates the container and returns its ID. Warnings go to stderr. */
export async function createContainer(
  engine: Client,
  body: CreateBody,
  { name, platform, pull, quiet, cidfile }: Creation,
): Promise<string> {
  const image = body.Image ?? "";
  if (cidfile !== "" && (await Bun.file(cidfile).exists())) {
    const why = "make sure the other container isn't running or delete";
    throw new Failure("conflict", `container ID file found, ${why} ${cidfile}`);
  }
  const query = { name, platform };
  const pullNow = async (): Promise<void> => {
    const { pullImage } = require("./pull-image.ts") as typeof import("./pull-image.ts");
    await pullImage(engine, image, { platform, quiet, isForRun: true });
  };
  if (pull === "always") await pullNow();
  const create = () => engine.containers.create(body, query);
  const answer = await create().catch(async (error: unknown) => {
    const isMissing =
      error instanceof Failure &&
      isFailure(error, "not_found") &&
      isAnswer(error) &&
      /no such image|does not provide the specified platform/i.test(error.message);
    if (!isMissing || pull !== "missing") throw error;
    if (!quiet) complain(`Unable to find image '${withTag(image)}' locally`);
    await pullNow();
    return create();
  });
  for (const warning of answer.Warnings ?? []) complain(`WARNING: ${warning}`);
  if (cidfile !== "") await Bun.write(cidfile, answer.Id);
  return answer.Id;
}

/** The exit code of `run` for a start that failed: 127 not found, 126 not executable, else 125. */
export function startExitCode(message: string): number {
  if (/executable file not found|no such file or directory|cannot find the file/i.test(message)) {
    return 127;
  }
  return /permission denied|is a directory/i.test(message) ? 126 : 125;
}
