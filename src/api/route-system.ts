/** The endpoints of the engine as a whole. */
import { Failure } from "../base/mod.ts";
import { apiVersion, apiVersionMin, engineVersion } from "./answers.ts";
import type { Context } from "./context.ts";
import { diskUsage } from "./disk-usage.ts";
import { events } from "./events.ts";
import type { Exchange } from "./exchange.ts";
import { readFields } from "./fields.ts";
import { hostFacts, systemInfo } from "./info.ts";
import { ociRuntime } from "./oci-runtime.ts";
import { noRegistries } from "./progress.ts";
import type { Route } from "./router.ts";
import type { NetworkWhy, VersionAnswer } from "./schema.ts";

const pingHeaders =
  "Builder-Version: 1\r\nSwarm: inactive\r\n" +
  "Cache-Control: no-cache, no-store, must-revalidate\r\nPragma: no-cache\r\n";

/** `GET` and `HEAD /_ping`: the headers are what clients come for. It is `docker run`'s first word. */
function ping(exchange: Exchange, { engine }: Context): void {
  exchange.text(200, "OK", pingHeaders);
  engine.expect();
}

async function version(exchange: Exchange, { info }: Context): Promise<void> {
  const runtime = await ociRuntime(info);
  const { kernel, architecture } = hostFacts();
  const gitCommit = info.gitCommit ?? "unknown";
  const buildTime = info.buildTime ?? "";
  const answer: VersionAnswer = {
    Platform: { Name: "Lading" },
    Components: [
      {
        Name: "Engine",
        Version: engineVersion(info.version),
        Details: {
          ApiVersion: apiVersion,
          Arch: architecture,
          BuildTime: buildTime,
          Experimental: "false",
          GitCommit: gitCommit,
          GoVersion: "",
          KernelVersion: kernel,
          MinAPIVersion: apiVersionMin,
          Os: "linux",
        },
      },
      { Name: "Lading", Version: info.version, Details: { GitCommit: gitCommit } },
      { Name: runtime.name, Version: runtime.version, Details: { GitCommit: runtime.commit } },
      { Name: "lading-init", Version: info.version, Details: { GitCommit: gitCommit } },
    ],
    Version: engineVersion(info.version),
    ApiVersion: apiVersion,
    MinAPIVersion: apiVersionMin,
    GitCommit: gitCommit,
    GoVersion: "",
    Os: "linux",
    Arch: architecture,
    KernelVersion: kernel,
    Experimental: false,
    BuildTime: buildTime,
  };
  exchange.json(200, answer);
}

/**
 * Clients of older versions warn without them that neighbours on a bridge are not filtered. Here the
 * bridge's ports keep them apart, where that is asked for, and `bridge-nf-call-iptables` changes nothing.
 */
const oldBridges = { BridgeNfIptables: true, BridgeNfIp6tables: true };

async function info(exchange: Exchange, context: Context): Promise<void> {
  const answer = systemInfo(context, await ociRuntime(context.info));
  exchange.json(200, exchange.minor < 50 ? { ...answer, ...oldBridges } : answer);
}

async function auth(exchange: Exchange, { registries }: Context): Promise<void> {
  const body = await readFields(exchange);
  const server = body.text("serveraddress") ?? "";
  if (!registries?.login) throw noRegistries(`log in to "${server.slice(0, 300)}"`);
  const username = body.text("username") ?? "";
  if (username === "") throw new Failure("invalid", "Cannot log in: there is no user name");
  const { identityToken } = await registries.login({
    username,
    password: body.text("password") ?? "",
    serveraddress: server,
  });
  exchange.json(200, { Status: "Login Succeeded", IdentityToken: identityToken });
}

async function audit(exchange: Exchange, context: Context): Promise<void> {
  if (!context.audit)
    throw new Failure("unsupported", "Cannot audit: this engine does not offer it");
  exchange.json(200, await context.audit());
}

/** Why one end of the network reaches another: ours, and what `lading network why` shows. */
async function why(exchange: Exchange, { engine }: Context): Promise<void> {
  const [from, to] = [exchange.query.get("from") ?? "", exchange.query.get("to") ?? ""];
  const steps = await engine.why(from, to);
  const stop = steps.find(({ ok }) => !ok);
  const answer: NetworkWhy = {
    From: from,
    To: to,
    Reachable: stop === undefined,
    StoppedBy: stop?.step ?? "",
    Steps: steps.map(({ step, ok, detail, hint }) => ({
      Step: step,
      OK: ok,
      Detail: detail,
      ...(hint ? { Hint: hint } : {}),
    })),
  };
  exchange.json(200, answer);
}

function diskOf({ disk }: Context) {
  if (disk) return disk;
  throw new Failure("unsupported", "Cannot audit the disk: this engine does not offer it");
}

async function auditDisk(exchange: Exchange, context: Context): Promise<void> {
  exchange.json(200, await diskOf(context).audit());
}

async function checkDisk(exchange: Exchange, context: Context): Promise<void> {
  const repair = ["1", "true"].includes(exchange.query.get("repair") ?? "");
  exchange.json(200, await diskOf(context).check({ repair }));
}

export const routes: readonly Route[] = [
  ["GET", "/_ping", ping],
  ["HEAD", "/_ping", ping],
  ["GET", "/version", version],
  ["GET", "/info", info],
  ["POST", "/auth", auth],
  ["GET", "/events", events],
  ["GET", "/system/df", diskUsage],
  ["GET", "/lading/audit", audit],
  ["GET", "/lading/disk", auditDisk],
  ["POST", "/lading/fsck", checkDisk],
  ["GET", "/lading/network/why", why],
];
