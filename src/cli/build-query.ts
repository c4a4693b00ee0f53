/** From the flags of a build to its request: what is sent ahead is sent, the rest is the query. */
import { readFileSync } from "node:fs";
import type { BuildQuery } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { openCaches } from "./build-caches.ts";
import { type buildFlags, buildQuery } from "./build-flags.ts";
import { sendContexts } from "./build-named.ts";
import { buildOutputs, type PlacedOutput } from "./build-outputs.ts";
import { sendParts } from "./build-parts.ts";
import { type BuildSource, type Needs, openContext } from "./build-source.ts";
import type { Client } from "./engine.ts";
import type { FlagValues } from "./flags.ts";
import { securityRequest } from "./security-flags.ts";

export type BuildFlags = FlagValues<typeof buildFlags>;

export interface PreparedBuild extends AsyncDisposable {
  readonly query: BuildQuery;
  readonly context: BuildSource["context"];
  /** The files of a context that was only listed: pass the messages of the build by `answering`. */
  readonly pieces: BuildSource["pieces"] | undefined;
  readonly outputs: readonly PlacedOutput[];
  readonly receiveCaches: Awaited<ReturnType<typeof openCaches>>["receive"];
}

/** The file that buildx's variable names. @throws Failure "not_found" */
function sourcePolicy(): Pick<BuildQuery, "sourcepolicy"> {
  const path = process.env["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] ?? "";
  if (path === "") return {};
  try {
    return { sourcepolicy: readFileSync(path, "utf8") };
  } catch (cause) {
    throw new Failure("not_found", `Cannot read the source policy "${path}"`, { cause });
  }
}

/** What a build wants of its context: one that is repeated elsewhere needs all files. */
export function needsOf(flags: Pick<BuildFlags, "verify" | "sbom" | "attest">): Needs {
  // The software of a context may be listed, too.
  const isListed = flags.sbom !== "" || flags.attest.some((each) => each.includes("sbom"));
  return flags.verify || isListed ? "all" : "listed";
}

/** Reads and sends what the build needs. Dispose of it when the build has ended. @throws Failure */
export async function prepareBuild(
  engine: Client,
  flags: BuildFlags,
  { place, needs = "all" }: { place: string; needs?: Needs },
): Promise<PreparedBuild> {
  const outputs = buildOutputs(flags);
  const source = await openContext(place, flags.file, needs);
  const parts = await sendParts(engine, flags);
  try {
    const { SecurityOpt } = await securityRequest(flags["security-opt"]);
    const security = SecurityOpt ? { securityopt: JSON.stringify(SecurityOpt) } : {};
    const named = await sendContexts(engine, flags["build-context"]);
    const ahead = source.ahead ? await engine.images.keepContext(source.ahead) : undefined;
    const file = ahead ? { dockerfilecontext: ahead.Id } : {};
    const caches = await openCaches(engine, flags);
    const wanted =
      outputs.length > 0 ? { outputs: outputs.map(({ Type, Attrs }) => ({ Type, Attrs })) } : {};
    const own = {
      ...buildQuery(flags),
      ...security,
      ...named,
      ...file,
      ...sourcePolicy(),
      ...wanted,
      ...caches.query,
    };
    const query = { ...own, ...source.query, ...parts.query };
    const dispose = () => parts[Symbol.asyncDispose]();
    const { context, pieces } = source;
    const { receive: receiveCaches } = caches;
    return { query, context, pieces, outputs, receiveCaches, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await parts[Symbol.asyncDispose]();
    throw error;
  }
}
