/** Networks that are settings alone, and networks made from them; pure. */
import { Failure } from "../base/mod.ts";
import type { Network, NetworkSpec } from "./types.ts";

/**
 * A network's wishes with those of the settings it names.
 *
 * @throws "invalid" — it has wishes of its own besides; "not_found" — no such settings
 */
export function inherit(spec: NetworkSpec, networks: readonly Network[]): NetworkSpec {
  if (spec.configOnly) return asSettings(spec);
  if (!spec.configFrom) return spec;
  const from = networks.find(({ id, name }) => name === spec.configFrom || id === spec.configFrom);
  if (!from?.configOnly) {
    throw new Failure("not_found", `configuration network "${spec.configFrom}" not found`);
  }
  const own = [
    [spec.subnets.length > 0, "ipam configurations"],
    [Object.keys(spec.options).length > 0, "driver options"],
    [spec.enableIPv6, "IPv6 enabling"],
    [Object.keys(spec.labels).length > 0, "labels"],
  ].find(([isGiven]) => isGiven);
  if (own) {
    const reason = `user specified ${own[1]} are not supported if the network depends on a configuration network`;
    throw new Failure("invalid", reason, { hint: `They come from "${from.name}"` });
  }
  const { subnets, options, labels, enableIPv4, enableIPv6 } = from;
  return { ...spec, configFrom: from.name, subnets, options, labels, enableIPv4, enableIPv6 };
}

function asSettings(spec: NetworkSpec): NetworkSpec {
  if (spec.configFrom) {
    const reason = "a configuration network cannot depend on another configuration network";
    throw new Failure("invalid", reason);
  }
  const wrong = spec.internal ? "internal" : spec.attachable ? "attachable" : undefined;
  if (!wrong) return { ...spec, driver: "null" };
  throw new Failure("invalid", `configuration network can only contain network specific fields`, {
    hint: `Give --${wrong} to the network that is made from it`,
  });
}

/** Refuses to take settings away that a network was made from. @throws "denied" */
export function checkInherited(network: Network, networks: readonly Network[]): void {
  if (!network.configOnly) return;
  const heir = networks.find(({ configFrom }) => configFrom === network.name);
  if (!heir) return;
  throw new Failure("denied", `configuration network "${network.name}" is in use`, {
    hint: `Network "${heir.name}" was made from it`,
  });
}
