import { Failure, isFailure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { type Client, engineOf } from "./engine.ts";
import { formatFlag, inspectObjects } from "./inspect-objects.ts";

const types = ["container", "image", "network", "volume"] as const;
type Type = (typeof types)[number];

export const command = defineCommand({
  usage: "[OPTIONS] NAME|ID [NAME|ID...]",
  flags: {
    format: formatFlag,
    size: { kind: "bool", short: "s", about: "Show the sizes of containers" },
    type: { kind: "string", about: "Look among these alone: container, image, network or volume" },
  },
  arguments: { min: 1 },
  async run({ flags, args, given, globals }) {
    const engine = engineOf(globals);
    if (given.has("type") && !types.includes(flags.type as Type)) {
      throw new Failure(
        "invalid",
        `unknown type: "${flags.type}": must be one of ${types.map((type) => `"${type}"`).join(", ")}`,
      );
    }
    const wanted = given.has("type") ? [flags.type as Type] : types;
    const isOnly = wanted.length === 1;
    return inspectObjects(args, flags.format, async (name) => {
      for (const type of wanted) {
        try {
          return await inspectOne(engine, type, { name, size: flags.size });
        } catch (error) {
          if (isOnly || !isAbsence(error)) throw error;
        }
      }
      throw new Failure("not_found", `Error: No such object: ${name}`);
    });
  },
});

/** An object of another type may have a name that this type forbids: that is absence too. */
function isAbsence(error: unknown): boolean {
  return isFailure(error, "not_found") || isFailure(error, "invalid");
}

function inspectOne(
  engine: Client,
  type: Type,
  { name, size }: { name: string; size: boolean },
): Promise<unknown> {
  if (type === "container") return engine.containers.inspect(name, { size });
  if (type === "image") return engine.images.inspect(name);
  return type === "network" ? engine.networks.inspect(name) : engine.volumes.inspect(name);
}
