/** What a RUN may reach beyond its own files, and who must have allowed it. */
import { Failure } from "../base/mod.ts";
import { type Device, type DeviceRule, describeDevice } from "../runtime/mod.ts";
import type { StepScope } from "./build.ts";
import { word } from "./configure.ts";
import { readPairs } from "./flags.ts";
import type { Action } from "./instruction.ts";
import type { Entitlement } from "./types.ts";

export interface Sandboxing {
  readonly network: "default" | "none" | "host";
  /** All capabilities, all devices, nothing masked. */
  readonly isInsecure: boolean;
  readonly devices: readonly Device[];
}

const devicesMax = 64;

/** @throws Failure "denied" — not allowed; "not_found" — no such device */
export async function sandboxOf(
  action: Extract<Action, { kind: "run" }>,
  scope: StepScope,
): Promise<Sandboxing> {
  const { request } = scope.build;
  const require = (what: Entitlement, also = false) => {
    if (also || request.allow?.includes(what)) return;
    throw new Failure("denied", `${what} is not allowed`, {
      hint: `Allow it with --allow ${what}`,
    });
  };
  const { networkMode: mode } = request;
  const whole = mode === "host" || mode === "none" ? mode : "default";
  if (action.network === "host") require("network.host", whole === "host");
  const isInsecure = action.security === "insecure";
  if (isInsecure) require("security.insecure");
  if (action.devices.length > 0) require("device");
  if (action.devices.length > devicesMax)
    throw new Failure("invalid", "RUN names too many devices");
  const found = await Promise.all(action.devices.map((text) => deviceOf(text, scope)));
  return {
    network: action.network === "default" ? whole : action.network,
    isInsecure,
    devices: found.flatMap((device) => device ?? []),
  };
}

/** `/dev/fuse`, `name=/dev/fuse,required`. Absent ones are left out unless they are required. */
async function deviceOf(text: string, scope: StepScope): Promise<Device | undefined> {
  const pairs = readPairs(word(scope.state, text, scope.options));
  const options = new Map(pairs);
  const [first, value] = pairs[0] ?? ["", undefined];
  const name = options.get("name") ?? (value === undefined ? first : "");
  if (!name.startsWith("/dev/")) {
    throw new Failure(
      "unsupported",
      `Cannot give a RUN the device "${name}": no CDI devices here`,
      {
        hint: "Name it by its path: --device=/dev/fuse",
      },
    );
  }
  const device = await describeDevice(name);
  const isRequired = options.has("required") && options.get("required") !== "false";
  if (!device && isRequired) throw new Failure("not_found", `device ${name}: not found`);
  return device;
}

/** The cgroup's rule that opens a device. */
export function ruleOf({ type, major, minor }: Device): DeviceRule {
  return { allow: true, type: type === "b" ? "b" : "c", major, minor, access: "rwm" };
}
