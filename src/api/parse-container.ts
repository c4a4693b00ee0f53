/** `POST /containers/create`: its body becomes a CreateRequest, each field there and of its type. */
import { Failure } from "../base/mod.ts";
import type { ContainerConfig, CreateRequest } from "../engine/mod.ts";
import type { EndpointSpec } from "../network/mod.ts";
import type { Healthcheck, RunConfig } from "../oci/mod.ts";
import { Fields, textOf, wrongType } from "./fields.ts";
import { parseHostConfig } from "./parse-host.ts";

const emptyObject = {};

/** @throws Failure "invalid" */
export function parseCreate(
  body: Fields,
  { name, platform, minor }: { name: string; platform: string; minor: number },
): CreateRequest {
  const config = parseConfig(body);
  const asked = parseHostConfig(body.object("HostConfig") ?? new Fields({}, "HostConfig"));
  // Until 1.40 any container could join another one's IPC (docs/api/version-history.md).
  const isOpen = minor < 40 && asked.IpcMode === "";
  const hostConfig = isOpen ? { ...asked, IpcMode: "shareable" } : asked;
  const endpoints = parseEndpoints(body.object("NetworkingConfig"));
  // Until 1.44 a container began on one network (docs/api/version-history.md).
  if (minor < 44 && endpoints.length > 1) {
    const names = endpoints.map(({ network }) => network).join(", ");
    throw new Failure("invalid", `Container cannot be connected to network endpoints: ${names}`);
  }
  return {
    ...(name === "" ? {} : { name }),
    ...(platform === "" ? {} : { platform }),
    config,
    hostConfig,
    endpoints,
  };
}

/** The fields of `ContainerConfig`, defaults filled in. */
export function parseConfig(body: Fields): ContainerConfig {
  const isDisabled = body.flag("NetworkDisabled");
  const macAddress = body.text("MacAddress");
  return {
    Hostname: body.text("Hostname") ?? "",
    Domainname: body.text("Domainname") ?? "",
    AttachStdin: body.flag("AttachStdin") ?? false,
    AttachStdout: body.flag("AttachStdout") ?? false,
    AttachStderr: body.flag("AttachStderr") ?? false,
    Tty: body.flag("Tty") ?? false,
    OpenStdin: body.flag("OpenStdin") ?? false,
    StdinOnce: body.flag("StdinOnce") ?? false,
    Image: body.text("Image") ?? "",
    ...parseRunConfig(body),
    ...(isDisabled === undefined ? {} : { NetworkDisabled: isDisabled }),
    ...(macAddress === undefined ? {} : { MacAddress: macAddress }),
  };
}

/** The part of a container's config that an image has too; absent fields stay absent. */
export function parseRunConfig(body: Fields): RunConfig {
  const healthcheck = body.object("Healthcheck");
  return withoutAbsent({
    User: body.text("User"),
    ExposedPorts: body.record("ExposedPorts", emptyOf),
    Env: body.texts("Env"),
    Cmd: commandOf(body, "Cmd"),
    Entrypoint: commandOf(body, "Entrypoint"),
    Healthcheck: healthcheck && parseHealthcheck(healthcheck),
    Volumes: body.record("Volumes", emptyOf),
    WorkingDir: body.text("WorkingDir"),
    Labels: body.labels("Labels"),
    OnBuild: body.texts("OnBuild"),
    StopSignal: body.text("StopSignal"),
    StopTimeout: body.whole("StopTimeout"),
    Shell: body.texts("Shell"),
    ArgsEscaped: body.flag("ArgsEscaped"),
  });
}

function parseHealthcheck(fields: Fields): Healthcheck {
  return withoutAbsent({
    Test: fields.texts("Test"),
    Interval: fields.whole("Interval"),
    Timeout: fields.whole("Timeout"),
    StartPeriod: fields.whole("StartPeriod"),
    StartInterval: fields.whole("StartInterval"),
    Retries: fields.whole("Retries"),
  });
}

/** A list of words; old clients send one string. */
function commandOf(body: Fields, name: string): string[] | undefined {
  const value = body.raw(name);
  if (typeof value === "string") return [textOf(value, name)];
  return body.texts(name);
}

/** The values of ExposedPorts and Volumes are empty objects, whatever was sent. */
function emptyOf(value: unknown, where: string): object {
  if (value !== null && typeof value !== "object") throw wrongType(value, where, "object");
  return emptyObject;
}

function parseEndpoints(networking: Fields | undefined): EndpointSpec[] {
  const settings = networking?.record("EndpointsConfig", (value, where) => ({ value, where }));
  return Object.entries(settings ?? {}).map(([network, { value, where }]) =>
    parseEndpoint(network, new Fields(value ?? {}, where)),
  );
}

/** An `EndpointSettings` of the wire as what a network is asked for. */
export function parseEndpoint(network: string, fields: Fields): EndpointSpec {
  const ipam = fields.object("IPAMConfig");
  const mac = fields.text("MacAddress");
  return withoutAbsent({
    network,
    aliases: fields.texts("Aliases"),
    ipv4: ipam?.text("IPv4Address") || undefined,
    ipv6: ipam?.text("IPv6Address") || undefined,
    macAddress: mac || undefined,
    linkLocal: ipam?.texts("LinkLocalIPs"),
    links: fields.texts("Links"),
    driverOptions: fields.labels("DriverOpts"),
    gatewayPriority: fields.whole("GwPriority"),
  });
}

type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Leaves out what is undefined: an absent field and `undefined` differ in our types. */
export function withoutAbsent<T extends object>(value: T): Partial<Present<T>> & RequiredPart<T> {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(entries) as Partial<Present<T>> & RequiredPart<T>;
}

type RequiredPart<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K];
};
