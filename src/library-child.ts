/**
 * A build for a process that does not run on Bun: see library-node.mjs. Options come as a line of JSON on
 * stdin, events and the result go as lines on stdout; the end of stdin is the wish to stop.
 */
import { createInterface } from "node:readline";
import { toFailure } from "./base/mod.ts";
import { build } from "./library.ts";

const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
const stop = new AbortController();
const lines = createInterface({ input: process.stdin });
const options = await new Promise<string>((resolve) => lines.once("line", resolve));
lines.on("close", () => stop.abort());

try {
  const running = build({ ...JSON.parse(options), signal: stop.signal });
  for await (const event of running) {
    const isOutput = event.kind === "output";
    say({
      event: isOutput ? { ...event, bytes: Buffer.from(event.bytes).toString("base64") } : event,
    });
  }
  say({ result: await running });
} catch (error) {
  const { code, message, hint } = toFailure(error);
  say({ failure: { code, message, hint } });
}
lines.close();
process.exit();
