/** macvlan and ipvlan networks: what their options mean, and the link that is their parent. */
import { Failure, isFailure } from "../base/mod.ts";
import {
  type ChildKind,
  changeLink,
  createBridge,
  createDummy,
  createVlan,
  type IpvlanFlag,
  type IpvlanMode,
  type MacvlanMode,
  type NetlinkRequest,
} from "../sys/mod.ts";
import type { Network } from "./types.ts";

export interface ChildOptions {
  readonly type: ChildKind;
  /** Name of the host's link that the containers' links hang on. */
  readonly parent: string;
  /** It is the network's alone, and leads nowhere: none was named. */
  readonly isStandIn: boolean;
  readonly mtu: number | undefined;
}

type Asked = Pick<Network, "id" | "driver" | "options">;

export const isChild = ({ driver }: Pick<Network, "driver">) =>
  driver === "macvlan" || driver === "ipvlan";

const macvlanModes: readonly string[] = ["bridge", "private", "vepa", "passthru"];
const ipvlanModes: readonly string[] = ["l2", "l3", "l3s"];
const ipvlanFlags: readonly string[] = ["bridge", "private", "vepa"];

/** The options of a macvlan or ipvlan network. @throws Failure "invalid" */
export function childOptions({ id, driver, options }: Asked): ChildOptions {
  const named = options.parent ?? "";
  if (named !== "" && (!/^[\w.@-]{1,15}$/.test(named) || /^\.+$/.test(named))) {
    throw new Failure("invalid", `invalid ${driver} parent "${named.slice(0, 100)}"`);
  }
  if (named === "lo") {
    throw new Failure("invalid", `loopback interface is not a valid ${driver} parent link`);
  }
  const mtuText = options["com.docker.network.driver.mtu"];
  const mtu = mtuText ? Number(mtuText) : undefined;
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= 68 && mtu <= 65_535)) {
    throw new Failure("invalid", `invalid MTU "${mtuText}"`);
  }
  const isStandIn = named === "";
  const parent = isStandIn ? `dm-${id.slice(0, 12)}` : named;
  return { type: typeOf(driver, options), parent, isStandIn, mtu };
}

function typeOf(driver: string, options: Network["options"]): ChildKind {
  if (driver === "macvlan") {
    const mode = choice("macvlan_mode", macvlanModes, options.macvlan_mode);
    return { kind: "macvlan", mode: mode as MacvlanMode };
  }
  const mode = choice("ipvlan_mode", ipvlanModes, options.ipvlan_mode) as IpvlanMode;
  const flag = choice("ipvlan_flag", ipvlanFlags, options.ipvlan_flag) as IpvlanFlag;
  return { kind: "ipvlan", mode, flag };
}

function choice(name: string, known: readonly string[], value: string | undefined): string {
  if (!value) return known[0]!;
  if (known.includes(value)) return value;
  throw new Failure("invalid", `requested ${name} "${value.slice(0, 100)}" is not valid`, {
    hint: `It can be ${known.join(", ")}`,
  });
}

/** Refuses what cannot be beside the networks there are. @throws Failure "conflict" */
export function checkParent(network: Network, others: readonly Network[]): void {
  const { parent, type } = childOptions(network);
  for (const other of others.filter((one) => isChild(one) && one.configOnly !== true)) {
    const theirs = childOptions(other);
    if (theirs.parent !== parent) continue;
    const isExclusive = [type, theirs.type].some(
      ({ kind, mode }) => kind === "ipvlan" || mode === "passthru",
    );
    if (!isExclusive) continue;
    const message = `network ${other.name} is already using parent interface ${parent}`;
    throw new Failure("conflict", message);
  }
}

/** What of the host is looked at and changed to make a parent. */
export interface Links {
  find(name: string): { readonly index: number } | undefined;
  execute(requests: readonly NetlinkRequest[]): void;
}

/**
 * The index of the parent, which is up; it is made when it is not there: a stand-in, or the tagged part
 * of another link as `eth0.10`.
 *
 * @throws Failure "invalid" — it is not there, and not of those that can be made; "unsupported"
 */
export function ensureParent(links: Links, network: Network): number {
  const options = childOptions(network);
  const found = links.find(options.parent);
  if (!found) makeParent(links, options);
  const { index } = found ?? links.find(options.parent)!;
  links.execute([changeLink(index)]);
  return index;
}

function makeParent(links: Links, { parent, isStandIn, type }: ChildOptions): void {
  if (isStandIn) {
    makeStandIn(links, parent);
    return;
  }
  const [, base, tagText] = /^(.+)\.(\d{1,4})$/.exec(parent) ?? [];
  const tag = Number(tagText);
  const under = base ? links.find(base) : undefined;
  if (!under) {
    const message = `invalid subinterface vlan name ${parent}, example formatting is eth0.10`;
    throw new Failure("invalid", message, { hint: `The host has no link "${base ?? parent}"` });
  }
  if (tag < 1 || tag > 4_094) {
    throw new Failure("invalid", `vlan id must be between 1-4094, received: ${tag}`);
  }
  known(`the ${type.kind} parent ${parent}`, "vlan", () =>
    links.execute([changeLink(under.index), createVlan(parent, under.index, tag)]),
  );
}

/** A bridge without ports leads nowhere either, where the kernel has no dummy links. */
function makeStandIn(links: Links, name: string): void {
  try {
    links.execute([createDummy(name)]);
  } catch (error) {
    if (!isFailure(error, "unsupported")) throw error;
    links.execute([createBridge({ name })]);
  }
}

/** Runs `task`, and says it in words when the kernel does not know a kind of link. */
export function known<R>(what: string, kind: string, task: () => R): R {
  try {
    return task();
  } catch (cause) {
    if (!isFailure(cause, "unsupported")) throw cause;
    throw new Failure("unsupported", `Cannot make ${what}: this kernel has no ${kind} links`, {
      cause,
      hint: `Load the module "${kind === "vlan" ? "8021q" : kind}", or use another driver`,
    });
  }
}
