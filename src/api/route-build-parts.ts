/**
 * What a client hands over before `POST /build`, so that it is neither in a URL nor in a context:
 * secrets and SSH agents. Both are Lading's own.
 */

import { Failure } from "../base/mod.ts";
import type { Builder, BuildRequest, Entitlement } from "../build/mod.ts";
import { agentOver, entitlements, secretBytesMax } from "../build/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import { Fields, parseJson, textOf } from "./fields.ts";
import type { Route } from "./router.ts";

/** `POST /build/secrets`: the body is a secret; the answer names it for one build. */
async function keepSecret(exchange: Exchange, { builder }: Context): Promise<void> {
  const bytes = await exchange.bytes(secretBytesMax);
  exchange.json(201, { Id: builder.parts.put(bytes) });
}

/** `POST /build/ssh?id=…`: the connection becomes that to an SSH agent, for as long as it is open. */
async function forwardAgent(exchange: Exchange, { builder }: Context): Promise<void> {
  const id = exchange.query.get("id") ?? "";
  let answer: (bytes: Uint8Array) => Promise<void> = async () => {};
  const agent = agentOver({ [Symbol.asyncIterator]: () => input() }, (bytes) => answer(bytes));
  using _offer = builder.parts.offer(id, agent);
  const stream = exchange.hijack("application/vnd.docker.raw-stream");
  async function* input(): AsyncGenerator<Uint8Array, void> {
    yield* stream.input;
  }
  answer = (bytes) => stream.write(bytes);
  const gone = new Promise<void>((resolve) => {
    if (stream.signal.aborted) resolve();
    stream.signal.addEventListener("abort", () => resolve(), { once: true });
    stream.input.once("close", resolve);
  });
  stream.accept();
  await gone;
  stream.end();
}

type Parts = Pick<BuildRequest, "secrets" | "agents" | "allow">;

/** `secrets={"id":"handle"}`, `ssh={"default":"handle"}`, `allow=network.host`. @throws Failure */
export function partsOf(query: URLSearchParams, { parts }: Builder): Parts {
  const allow = query.getAll("allow").map((text) => {
    const known: readonly string[] = entitlements;
    if (known.includes(text)) return text as Entitlement;
    throw new Failure("invalid", `Cannot allow "${text.slice(0, 100)}"`, {
      hint: `Known are ${entitlements.join(", ")}`,
    });
  });
  const agents = handles(query, "ssh").map(([id, handle]) => [id, parts.agent(handle)] as const);
  const secrets = handles(query, "secrets").map(([id, handle]) => {
    return [id, parts.take(handle)] as const;
  });
  return { allow, agents: new Map(agents), secrets: new Map(secrets) };
}

function handles(query: URLSearchParams, name: string): [string, string][] {
  const fields = new Fields({ [name]: parseJson(query.get(name) || "null") }, "");
  return Object.entries(fields.record(name, textOf) ?? {});
}

export const partRoutes: readonly Route[] = [
  ["POST", "/build/secrets", keepSecret],
  ["POST", "/build/ssh", forwardAgent],
];
