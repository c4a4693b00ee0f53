import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";
import { readReference } from "./reference.ts";

export const command = defineCommand({
  usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
  flags: {
    author: { kind: "string", short: "a", about: "Who made it" },
    change: { kind: "list", short: "c", about: "Dockerfile instruction to apply to the image" },
    message: { kind: "string", short: "m", about: "What was changed" },
    pause: { kind: "bool", short: "p", default: true, about: "Freeze the container meanwhile" },
  },
  arguments: { min: 1, max: 2 },
  async run({ flags, args, globals }) {
    const [container = "", reference] = args;
    const { name, tag } = reference ? readReference(reference) : { name: "", tag: "" };
    const { Id } = await engineOf(globals).containers.commit({
      container,
      repo: name,
      tag: tag ?? "",
      author: flags.author,
      comment: flags.message,
      changes: flags.change,
      pause: flags.pause,
    });
    print(Id);
    return 0;
  },
});
