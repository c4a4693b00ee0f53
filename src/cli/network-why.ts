import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { engineOf } from "./engine.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "[OPTIONS] FROM TO:PORT[/PROTOCOL]",
  flags: {
    format: { kind: "string", about: '"json" for programs' },
  },
  arguments: { min: 2, max: 2 },
  async run({ flags, args, globals }) {
    if (flags.format !== "" && flags.format !== "json") {
      throw new Failure("invalid", `Cannot print as "${flags.format}": it is "json" or nothing`);
    }
    const [from = "", to = ""] = args;
    const answer = await engineOf(globals).networks.why(from, to);
    if (flags.format === "json") {
      print(JSON.stringify(answer));
      return answer.Reachable ? 0 : 1;
    }
    for (const { Step, OK, Detail, Hint } of answer.Steps) {
      print(`${OK ? "ok  " : "STOP"}  ${Step.padEnd(10)}  ${Detail}`);
      if (Hint) print(`      ${"".padEnd(10)}  ${Hint}`);
    }
    print(answer.Reachable ? `${from} reaches ${to}` : `${from} does not reach ${to}`);
    return answer.Reachable ? 0 : 1;
  },
});
