/** The endpoints on which clients speak BuildKit's protocol. */
import { Failure } from "../base/mod.ts";
import { Control } from "../buildkit/mod.ts";
import type { Context } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import type { Route } from "./router.ts";

const protocol = "h2c";
const controls = new WeakMap<Context, Control>();

export function controlOf(context: Context): Control {
  const found =
    controls.get(context) ??
    new Control({ builder: context.builder, version: context.info.version });
  controls.set(context, found);
  return found;
}

function requireUpgrade({ headers }: Exchange): void {
  if (headers.get("upgrade")?.toLowerCase() === protocol) return;
  throw new Failure("invalid", "Cannot speak gRPC: the request has no Upgrade: h2c", {
    hint: "BuildKit's clients use this endpoint; others build with POST /build",
  });
}

/** The client calls: BuildKit's control API. */
function grpc(exchange: Exchange, context: Context): void {
  requireUpgrade(exchange);
  controlOf(context).serve(exchange.surrender(protocol));
}

/** The client is called: its files, secrets, agents and logins. */
function session(exchange: Exchange, context: Context): void {
  requireUpgrade(exchange);
  const { sessions } = controlOf(context);
  const id = exchange.headers.get("x-docker-expose-session-uuid") ?? "";
  const methods = exchange.headers.get("x-docker-expose-session-grpc-method") ?? "";
  sessions.check(id);
  const sharedKey = exchange.headers.get("x-docker-expose-session-sharedkey") ?? "";
  sessions.open(id, exchange.surrender(protocol), { methods: methods.split(/,\s*/), sharedKey });
}

export const routes: readonly Route[] = [
  ["POST", "/grpc", grpc],
  ["POST", "/session", session],
];
