/** Ports that are published and taken back while a container runs: ours, beside Docker's `update`. */
import { Failure } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { parsePort, portsOf } from "./ports.ts";
import { networkModeOf } from "./sandbox.ts";
import type { Container, HostConfig, PortBinding } from "./types.ts";

type Bindings = HostConfig["PortBindings"];

/** What an update says of ports: an entry without bindings takes all of that port's back. */
export interface PortChange {
  readonly PublishAdd?: Bindings;
  readonly PublishRemove?: Bindings;
}

type Ports = Pick<HostConfig, "PortBindings" | "PublishAllPorts">;

/**
 * The port settings after the change.
 *
 * @throws "invalid" — no port; "not_found" — what shall go is not published; "conflict" — what shall come is
 */
export function changedPorts(
  { config, hostConfig }: Pick<Container, "config" | "hostConfig">,
  { PublishAdd: add = {}, PublishRemove: remove = {} }: PortChange,
): Ports {
  const all = new Map<string, PortBinding[]>();
  for (const [key, bindings] of spread(hostConfig.PortBindings)) {
    all.set(key, [...(all.get(key) ?? []), ...bindings]);
  }
  const isAutomatic = hostConfig.PublishAllPorts && Object.keys(remove).length > 0;
  // What -P published is written out, so that a part of it can go.
  if (isAutomatic) {
    for (const [key] of spread(keysOf(config.ExposedPorts))) {
      if (!all.has(key)) all.set(key, [{ HostIp: "", HostPort: "" }]);
    }
  }
  for (const [key, gone] of spread(remove)) takeBack(all, key, gone);
  for (const [key, added] of spread(add)) publish(all, key, added);
  const changed = {
    PortBindings: Object.fromEntries(all),
    PublishAllPorts: hostConfig.PublishAllPorts && !isAutomatic,
  };
  portsOf({ config, hostConfig: { ...hostConfig, ...changed } });
  return changed;
}

const keysOf = (ports: object | undefined): Bindings =>
  Object.fromEntries(Object.keys(ports ?? {}).map((key) => [key, []]));

/** One entry for each port: `8000-8001/tcp` is two. @throws "invalid" */
function* spread(bindings: Bindings): Generator<[key: string, bindings: readonly PortBinding[]]> {
  for (const [key, list] of Object.entries(bindings ?? {})) {
    const { first, last, protocol } = parsePort(key);
    for (let port = first; port <= last; port++) yield [`${port}/${protocol}`, list ?? []];
  }
}

function takeBack(all: Map<string, PortBinding[]>, key: string, gone: readonly PortBinding[]) {
  const there = all.get(key) ?? [];
  const isMeant = (binding: PortBinding) =>
    gone.length === 0 ||
    gone.some(
      ({ HostIp = "", HostPort = "" }) =>
        (HostIp === "" || HostIp === binding.HostIp) &&
        (HostPort === "" || HostPort === binding.HostPort),
    );
  const left = there.filter((binding) => !isMeant(binding));
  if (left.length === there.length) {
    const place = gone.map(({ HostIp, HostPort }) => [HostIp, HostPort].filter(Boolean).join(":"));
    const where = place.filter(Boolean).length > 0 ? ` on ${place.join(", ")}` : "";
    throw new Failure("not_found", `port ${key} is not published${where}`);
  }
  if (left.length > 0) all.set(key, left);
  else all.delete(key);
}

function publish(all: Map<string, PortBinding[]>, key: string, added: readonly PortBinding[]) {
  const wanted = added.length > 0 ? added : [{ HostIp: "", HostPort: "" }];
  const there = all.get(key) ?? [];
  for (const { HostIp = "", HostPort = "" } of wanted) {
    const isThere = there.some((one) => one.HostIp === HostIp && one.HostPort === HostPort);
    if (isThere && HostPort !== "") {
      const where = [HostIp, HostPort].filter(Boolean).join(":");
      throw new Failure("conflict", `port ${key} is already published on ${where}`);
    }
  }
  all.set(key, [
    ...there,
    ...wanted.map(({ HostIp = "", HostPort = "" }) => ({ HostIp, HostPort })),
  ]);
}

/**
 * Writes the new ports down and brings the container in line with them, or leaves all as it was. Written
 * down first: a daemon that is killed in between has its next one finish it. Gives what undoes it.
 */
export async function publishNow(
  core: Core,
  container: Container,
  change: PortChange,
): Promise<() => Promise<void>> {
  const mode = networkModeOf(container.hostConfig);
  if (mode === "host" || mode.startsWith("container:")) {
    const reason = "it has no network of its own";
    throw new Failure("conflict", `Cannot publish ports of ${container.name}: ${reason}`);
  }
  const { hostConfig } = container;
  const changed = { ...hostConfig, ...changedPorts(container, change) };
  const undo = async () => {
    await republish(core, core.records.change(container.id, { hostConfig }));
  };
  try {
    await republish(core, core.records.change(container.id, { hostConfig: changed }));
    return undo;
  } catch (error) {
    core.records.change(container.id, { hostConfig });
    throw error;
  }
}

/** Brings a running container's ports in line with its settings; nothing to do where they are. */
export async function republish(core: Core, container: Container): Promise<void> {
  if (!core.networks.sandbox(container.id)) return;
  await core.networks.publish(container.id, portsOf(container));
}
