/**
 * Many containers at once: starts, looks at, executes in, stops and removes 200 (or as many as the first
 * argument says) through the docker client, twenty clients at a time. Exit code 1 when anything fails or
 * is left on the host.
 */
import { TestEngine, whyNot } from "../test/engine.ts";

const count = Number(process.argv[2] ?? 200);
const clients = 20;

if (whyNot) throw new Error(`Cannot run many containers: ${whyNot}`);
const engine = await TestEngine.openUnrecorded("clones");
let failed = 0;
try {
  await engine.importBusybox();
  const names = Array.from({ length: count }, (_, at) => `clone-${at}`);
  const init = ["--init", "--memory", "16m", "--restart", "unless-stopped"];
  await each("run", names, (name) => [
    "run",
    "-d",
    "--name",
    name,
    ...init,
    "busybox",
    "sleep",
    "9999",
  ]);
  const running = (await engine.ok(["ps", "-q"])).split("\n").filter(Boolean).length;
  if (running !== count) fail(`${running} of ${count} run`);
  await each("exec", names, (name) => ["exec", name, "true"]);
  console.log(await engine.ok(["stats", "--no-stream", "--format", "{{.MemUsage}}", names[0]!]));
  await each("stop", names, (name) => ["stop", name]);
  await each("start", names, (name) => ["start", name]);
  await each("rm", names, (name) => ["rm", "-f", name]);
} finally {
  for (const left of await engine.close()) fail(left);
}
console.log(failed === 0 ? `${count} containers, nothing failed` : `${failed} failures`);
process.exit(failed === 0 ? 0 : 1);

async function each(what: string, names: readonly string[], argv: (name: string) => string[]) {
  const beganMs = performance.now();
  const left = [...names];
  const work = async () => {
    for (let name = left.shift(); name; name = left.shift()) {
      const ran = await engine.docker(argv(name));
      if (ran.code !== 0) fail(`${what} ${name}: ${ran.stderr}`);
    }
  };
  await Promise.all(Array.from({ length: clients }, work));
  console.log(`${what}: ${Math.round(performance.now() - beganMs)} ms for ${names.length}`);
}

function fail(why: string): void {
  failed++;
  console.error(why.slice(0, 500));
}
