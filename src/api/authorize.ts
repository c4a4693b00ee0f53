/**
 * Asks authorisation plugins about every request and every answer.
 * Protocol: https://docs.docker.com/engine/extend/plugins_authorization/
 */
import type { TLSSocket } from "node:tls";
import { Failure, log, toFailure } from "../base/mod.ts";
import type { Plugins } from "../plugin/mod.ts";
import type { Handler } from "./connection.ts";
import type { Exchange } from "./exchange.ts";

const kind = "authz";
const bodyBytesMax = 1 << 20;
/**
 * Where a body is files, which no plugin is sent. Everywhere else a body is part of what is asked, also
 * when the client calls it something else than JSON, or says nothing of its length.
 */
const files =
  /^(\/v[\d.]+)?\/(build(\/(contexts|secrets|ssh))?|images\/(load|create)|volumes\/import|session|grpc|containers\/[^/]+\/(archive|attach))(\?|$)/;
const secretHeaders = new Set(["authorization", "x-registry-auth", "x-registry-config"]);

/** What a plugin is asked; the second time with the answer. */
type Question = Readonly<Record<string, unknown>>;

/**
 * Lets `handle` see only the requests that all plugins allow, in their order. A plugin that cannot be
 * reached allows nothing. An answer in one piece is sent when all allow it; of one that is streamed they
 * are told when it has ended.
 */
export function authorizing(plugins: Plugins, names: readonly string[], handle: Handler): Handler {
  return async (exchange) => {
    const question = await questionOf(exchange);
    await ask(plugins, names, { method: "AuthZReq", question });
    exchange.review = async ({ status, body, headers }) => {
      const answer = {
        ...question,
        ResponseStatusCode: status,
        ResponseHeaders: headers,
        ResponseBody: isSecret(exchange) ? "" : Buffer.from(body).toString("base64"),
      };
      await ask(plugins, names, { method: "AuthZRes", question: answer });
    };
    await handle(exchange);
  };
}

const isSecret = ({ target }: Exchange) => /^(\/v[\d.]+)?\/auth(\?|$)/.test(target);

async function questionOf(exchange: Exchange): Promise<Question> {
  const hasFiles = files.test(exchange.target);
  const body = hasFiles ? undefined : await exchange.peek(bodyBytesMax);
  const headers = [...exchange.headers].filter(([name]) => !secretHeaders.has(name));
  return {
    ...userOf(exchange),
    RequestMethod: exchange.method,
    RequestUri: exchange.target,
    RequestBody: body && !isSecret(exchange) ? body.toString("base64") : "",
    RequestHeaders: Object.fromEntries(headers.map(([name, value]) => [headerName(name), value])),
  };
}

/** Plugins look for `Content-Type`, as Go writes it. */
const headerName = (name: string) =>
  name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase());

/** Who the client is by its certificate, where it had to show one. */
function userOf(exchange: Exchange) {
  const socket = exchange.socket as Partial<TLSSocket>;
  const certificate = socket.getPeerCertificate?.();
  const user = socket.authorized ? certificate?.subject?.CN : undefined;
  if (typeof user !== "string" || !certificate) return { User: "", UserAuthNMethod: "" };
  const pem = `-----BEGIN CERTIFICATE-----\n${certificate.raw
    .toString("base64")
    .replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
  const RequestPeerCertificates = [Buffer.from(pem).toString("base64")];
  return { User: user, UserAuthNMethod: "TLS", RequestPeerCertificates };
}

async function ask(
  plugins: Plugins,
  names: readonly string[],
  { method, question }: { method: "AuthZReq" | "AuthZRes"; question: Question },
): Promise<void> {
  for (const name of names) {
    const { Allow, Msg } = await verdict(plugins, name, { method, question });
    if (Allow === true) continue;
    const why = typeof Msg === "string" ? Msg.slice(0, 2_000) : "";
    log("info", "A plugin denied a request", { plugin: name, method, why });
    throw new Failure("denied", `authorization denied by plugin ${name}: ${why}`);
  }
}

async function verdict(
  plugins: Plugins,
  name: string,
  { method, question }: { method: string; question: Question },
) {
  try {
    const plugin = await plugins.get(name, kind);
    return await plugin.call(`AuthZPlugin.${method}`, question);
  } catch (error) {
    const { message } = toFailure(error);
    throw new Failure("internal", `plugin ${name} failed with error: ${message}`, { cause: error });
  }
}
