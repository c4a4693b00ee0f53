import { readPairs } from "./flags.ts";
import type { Action, DeviceFlag, MountFlag } from "./instruction.ts";
import { type Context, readCommand } from "./parse-words.ts";
import { nearest } from "./source.ts";

/** The flags and the command of a RUN. @throws Failure "invalid" with the place */
export function readRun(context: Context): Action {
  const { text, lists } = context.flags;
  const network = text["network"] ?? "default";
  if (network !== "default" && network !== "none" && network !== "host") {
    const problem = `invalid value "${network}" for network`;
    throw context.fail(problem, "It is default, none or host", network);
  }
  const security = text["security"] ?? "sandbox";
  if (security !== "sandbox" && security !== "insecure") {
    const problem = `security "${security}" is not valid`;
    throw context.fail(problem, "It is sandbox or insecure", security);
  }
  const devices = (lists["device"] ?? []).map((text) => readDevice(context, text));
  const mounts = (lists["mount"] ?? []).map((text) => readMount(context, text));
  return { kind: "run", command: readCommand(context), mounts, network, security, devices };
}

/** `vendor.com/class=name`, a class, or `name=…,required`. */
function readDevice(context: Context, text: string): DeviceFlag {
  let name = "";
  let required = false;
  for (const [key, value] of readPairs(text)) {
    const word = key.toLowerCase();
    if (word === "required") {
      if (value !== undefined && value !== "true" && value !== "false") {
        throw context.fail(`invalid value for required: ${value}`, "It is true or false", text);
      }
      required = value !== "false";
    } else if (word === "name" && value !== undefined) {
      if (name !== "") throw context.fail(`device name already set to ${name}`, undefined, text);
      name = value;
    } else if (name === "") name = value === undefined ? key : `${key}=${value}`;
    else {
      const near = nearest(key, ["name", "required"]);
      const hint = near ? `Did you mean ${near}?` : "A device takes name and required";
      throw context.fail(`unexpected key '${key}' in '${text}'`, hint, text);
    }
  }
  if (name === "") throw context.fail("a device needs a name", "--device=vendor.com/class", text);
  return { name, required };
}

const mountKeys: Record<MountFlag["type"], readonly string[]> = {
  bind: ["source", "target", "from", "readonly", "readwrite"],
  cache: ["id", "source", "target", "from", "sharing", "mode", "uid", "gid", "readonly"],
  tmpfs: ["target", "size"],
  secret: ["id", "target", "env", "required", "mode", "uid", "gid"],
  ssh: ["id", "target", "required", "mode", "uid", "gid"],
};
const mountAliases: Record<string, string> = {
  src: "source",
  dst: "target",
  destination: "target",
  ro: "readonly",
  rw: "readwrite",
};

function readMount(context: Context, text: string): MountFlag {
  const pairs = readPairs(text);
  const type = pairs.find(([key]) => key === "type")?.[1] ?? "bind";
  if (!Object.hasOwn(mountKeys, type)) {
    const near = nearest(type, Object.keys(mountKeys));
    const hint = near ? `Did you mean ${near}?` : `Known are ${Object.keys(mountKeys).join(", ")}`;
    throw context.fail(`unsupported mount type "${type}"`, hint, type);
  }
  const known = mountKeys[type as MountFlag["type"]];
  const options: Record<string, string> = {};
  for (const [written, value] of pairs) {
    const key = mountAliases[written.toLowerCase()] ?? written.toLowerCase();
    if (key === "type") continue;
    if (!known.includes(key) && !(key === "readwrite" || key === "readonly")) {
      const near = nearest(key, known);
      const hint = near ? `Did you mean ${near}?` : `A ${type} mount takes ${known.join(", ")}`;
      throw context.fail(`unexpected key '${written}' in '${text}'`, hint, written);
    }
    const isSwitch = key === "readonly" || key === "readwrite" || key === "required";
    if (value === undefined && !isSwitch) {
      throw context.fail(`invalid field '${written}' must be a key=value pair`, undefined, written);
    }
    options[key] = value ?? "true";
  }
  const needsTarget = type === "bind" || type === "cache" || type === "tmpfs";
  if (needsTarget && !options["target"]) {
    throw context.fail(`a ${type} mount needs a target`, `Add target=/path to it`, text);
  }
  return { type: type as MountFlag["type"], options };
}
