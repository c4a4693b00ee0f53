/** Where the results of a build go: `outputs=` of `POST /build`, and results that clients fetch. */
import { Failure } from "../base/mod.ts";
import {
  type Output as BuildOutput,
  type BuildRequest,
  type Produced,
  parseAttests,
  parseOutput,
} from "../build/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange, Output } from "./exchange.ts";
import { Fields, parseJson, textOf } from "./fields.ts";
import { flag, whole } from "./query.ts";
import type { Route } from "./router.ts";
import type { ProgressMessage } from "./schema.ts";

const outputsMax = 32;

/** `outputs=[{"Type":"oci","Attrs":{"dest":"-"}}]`, `verify=1`, `committime=1700000000`. @throws "invalid" */
export function resultsOf(
  query: URLSearchParams,
  tags: readonly string[],
): Pick<BuildRequest, "outputs" | "verify" | "keepTimes" | "commitSeconds" | "attest" | "squash"> {
  const given = readOutputs(query);
  const outputs = given.map(({ type, attributes }) => parseOutput(type, attributes, tags));
  const kept = given.map(({ attributes }) => attributes["rewrite-timestamp"] === "false");
  if (kept.includes(true) && kept.includes(false)) {
    throw new Failure("invalid", "rewrite-timestamp must be the same for all outputs of a build");
  }
  const commitSeconds = whole(query, "committime");
  return {
    ...(given.length > 0 ? { outputs } : {}),
    verify: flag(query, "verify"),
    squash: flag(query, "squash"),
    attest: parseAttests(readAttests(query)),
    keepTimes: kept.includes(true),
    ...(commitSeconds === undefined ? {} : { commitSeconds }),
  };
}

interface GivenOutput {
  readonly type: string;
  readonly attributes: Readonly<Record<string, string>>;
}

function readOutputs(query: URLSearchParams): GivenOutput[] {
  const text = query.get("outputs") ?? "";
  if (text === "") return [];
  const parsed = parseJson(text);
  if (!Array.isArray(parsed) || parsed.length > outputsMax) {
    throw new Failure("invalid", `invalid outputs: not a list of at most ${outputsMax}`, {
      hint: 'As [{"Type":"local","Attrs":{}}]',
    });
  }
  return parsed.map((value: unknown, at) => {
    const fields = new Fields(value, `outputs[${at}]`);
    const type = fields.text("Type") ?? "";
    // A folder or an archive always goes to who asks: it needs no word for that here.
    const attributes = fields.record("Attrs", textOf) ?? {};
    return { type, attributes };
  });
}

/** `attests=[{"type":"provenance","mode":"max"}]` */
function readAttests(query: URLSearchParams): Record<string, string>[] {
  const parsed = parseJson(query.get("attests") || "[]");
  if (!Array.isArray(parsed) || parsed.length > outputsMax) {
    throw new Failure("invalid", `invalid attests: not a list of at most ${outputsMax}`);
  }
  return parsed.map((value: unknown) => {
    return new Fields({ attest: value }, "attests").record("attest", textOf) ?? {};
  });
}

/** What a client is told at the end. */
export function producedMessage({ id, exports, caches, metadata }: Produced): ProgressMessage {
  const waiting = exports.map(({ output, handle }) => ({ Output: output, Handle: handle }));
  const Caches = caches.map(({ cache, handle }) => ({ Cache: cache, Handle: handle }));
  const more = Caches.length > 0 ? { Caches } : {};
  return { aux: { ID: id, Metadata: metadata, Results: waiting, ...more } };
}

/** True when some output is an image in the store, which then has the tags. */
export function isStored(outputs: readonly BuildOutput[] | undefined): boolean {
  return outputs === undefined || outputs.some(({ kind }) => kind === "image");
}

/** `GET /build/results/{id}`: the tar of a result that waits, once. */
async function fetchResult(
  exchange: Exchange,
  { builder }: Context,
  [handle = ""]: readonly string[],
): Promise<void> {
  let output: Output | undefined;
  for await (const bytes of builder.fetch(handle)) {
    // What fails before the first bytes still has a status.
    output ??= exchange.stream(200, "application/x-tar");
    await output.write(bytes);
  }
}

export const resultRoutes: readonly Route[] = [["GET", "/build/results/{id}", fetchResult]];
