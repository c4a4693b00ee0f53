import { defineCommand } from "./command.ts";
import { complaintText } from "./complaint.ts";
import { engineOf } from "./engine.ts";
import { complain, print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  flags: {
    force: {
      kind: "bool",
      short: "f",
      about: "Remove it though stopped containers or other names use it",
    },
    "no-prune": { kind: "bool", about: "Keep untagged parents" },
    platform: { kind: "list", about: "Remove only this platform", hidden: true },
  },
  arguments: { min: 1 },
  async run({ flags, args, globals }) {
    const engine = engineOf(globals);
    const query = { force: flags.force, noprune: flags["no-prune"] };
    let code = 0;
    for (const name of args) {
      try {
        for (const step of await engine.images.remove(name, query)) {
          print("Deleted" in step ? `Deleted: ${step.Deleted}` : `Untagged: ${step.Untagged}`);
        }
      } catch (error) {
        complain(complaintText(error));
        const isForgiven = flags.force && (error as { code?: string }).code === "not_found";
        if (!isForgiven) code = 1;
      }
    }
    return code;
  },
});
