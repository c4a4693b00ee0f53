/** What a RUN may reach beyond its own files, and who must have allowed it. */
import { Failure } from "../base/mod.ts";
import { type DeviceEdits, describeDevice, findDevices, ruleOf } from "../runtime/mod.ts";
import { word } from "./configure.ts";
import type { Action, DeviceFlag } from "./instruction.ts";
import type { StepScope } from "./scope.ts";
import type { Entitlement } from "./types.ts";

export interface Sandboxing {
  readonly network: "default" | "none" | "host" | JoinedNetwork;
  /** All capabilities, all devices, nothing masked. */
  readonly isInsecure: boolean;
  readonly devices: readonly DeviceEdits[];
  readonly hostname: string;
}

/** That of a container, by its full ID. */
type JoinedNetwork = `container:${string}`;

const isJoined = (mode: string): mode is JoinedNetwork => mode.startsWith("container:");

/** Always the same, so that a build that writes it down is the same everywhere. BuildKit's name. */
export const defaultHostname = "buildkitsandbox";

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
  const whole = mode === "host" || mode === "none" || isJoined(mode) ? mode : "default";
  if (action.network === "host") require("network.host", whole === "host");
  const isInsecure = action.security === "insecure";
  if (isInsecure) require("security.insecure");
  if (action.devices.length > 0) require("device");
  if (action.devices.length > devicesMax)
    throw new Failure("invalid", "RUN names too many devices");
  const found = await Promise.all(action.devices.map((device) => deviceOf(device, scope)));
  return {
    network: action.network === "default" ? whole : action.network,
    isInsecure,
    devices: found.flatMap((device) => device ?? []),
    hostname: request.buildArgs["BUILDKIT_SANDBOX_HOSTNAME"] || defaultHostname,
  };
}

/** A node's path, or a name of the Container Device Interface. */
async function deviceOf({ name: written, required }: DeviceFlag, scope: StepScope) {
  const name = word(scope.state, written, scope.options);
  if (!name.startsWith("/dev/")) {
    const found = await findDevices(name);
    if (found && Object.keys(found.hooks).length > 0) {
      throw new Failure(
        "unsupported",
        `Cannot give the device ${name} to a build: it wants hooks`,
        {
          hint: "A device of nodes, mounts and variables works",
        },
      );
    }
    if (found || !required) return found;
    throw new Failure("not_found", `device ${name} is requested by the build but not available`, {
      hint: "Devices are described below /etc/cdi and /var/run/cdi",
    });
  }
  const device = await describeDevice(name);
  if (!device && required) throw new Failure("not_found", `device ${name}: not found`);
  if (!device) return undefined;
  const none = { env: [], mounts: [], hooks: {}, additionalGids: [] };
  return { ...none, devices: [device], rules: [ruleOf(device)] };
}
