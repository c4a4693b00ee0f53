/**
 * The main job, shown: starts an engine of its own, builds an image from a Dockerfile, runs it, looks at
 * it, commits a change, and cleans up. Every step prints the command that a user would type.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const lading = join(root, "bin/lading");
const folder = mkdtempSync(join(tmpdir(), "lading-demo-"));
const host = `unix://${folder}/engine.sock`;
const bridge = "lading-demo";

/** Shows and runs one command; a failure ends the demo with its output. */
function step(title: string, args: readonly string[], input?: Uint8Array): string {
  console.log(`\n# ${title}\n$ lading ${args.map(quote).join(" ")}`);
  const began = performance.now();
  const ran = spawnSync(lading, ["-H", host, ...args], {
    input,
    encoding: "utf8",
    cwd: import.meta.dir,
    stdio: [input ? "pipe" : "ignore", "pipe", "pipe"],
  });
  const tookMs = Math.round(performance.now() - began);
  process.stdout.write(ran.stdout + ran.stderr);
  if (ran.status !== 0) throw new Error(`"lading ${args.join(" ")}" ended with ${ran.status}`);
  console.log(`(${tookMs} ms)`);
  return ran.stdout.trim();
}

function quote(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

async function startEngine() {
  const argv = [lading, "daemon", `--host=${host}`, `--data-root=${folder}/data`];
  const rest = [`--exec-root=${folder}/run`, `--bridge=${bridge}`, "--log-level=warn"];
  console.log(
    `# Start an engine of its own, beside any other\n$ ${["lading", ...argv.slice(1), ...rest].join(" ")}`,
  );
  const child = Bun.spawn([...argv, ...rest], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  const first = await reader.read();
  if (first.done) throw new Error("the engine did not start");
  process.stdout.write(first.value);
  reader.releaseLock();
  return child;
}

/** The base image: nothing but busybox, from Debian's package, so that no registry is needed. */
function baseTar(): Uint8Array {
  const script = `set -e; d=$(mktemp -d); chmod 755 $d; mkdir -p $d/bin $d/etc $d/tmp $d/var/www; chmod 1777 $d/tmp
    cp "$(command -v busybox)" $d/bin/busybox
    for name in $(busybox --list); do [ $name = busybox ] || ln -s busybox $d/bin/$name; done
    echo 'root:x:0:0:root:/root:/bin/sh' > $d/etc/passwd; echo 'root:x:0:' > $d/etc/group
    tar -C $d -c .; rm -rf $d`;
  const made = spawnSync("sh", ["-c", script], { maxBuffer: 64 << 20 });
  if (made.status !== 0) throw new Error(`cannot make the base image: ${made.stderr}`);
  return made.stdout;
}

async function show(): Promise<void> {
  step(
    "A base image from a tar of busybox",
    ["import", "-c", 'CMD ["sh"]', "-", "busybox"],
    baseTar(),
  );
  step("Build an image from a Dockerfile", ["build", "-t", "demo:1", "web"]);
  step("Build it again: every step comes from the cache", ["build", "-q", "-t", "demo:1", "web"]);
  step("What it is made of", ["history", "demo:1"]);
  step("Run it, with a published port", [
    "run",
    "-d",
    "--name",
    "web",
    "-p",
    "127.0.0.1::8080",
    "demo:1",
  ]);
  const address = step("Where is it?", ["port", "web", "8080/tcp"]);
  await page(address);
  step("Its own processes", ["exec", "web", "ps"]);
  step("Its own network", ["exec", "web", "ip", "addr", "show", "eth0"]);
  step("Its logs", ["logs", "web"]);
  step("Change a file in it", [
    "exec",
    "web",
    "sh",
    "-c",
    "echo '<h1>Changed</h1>' > /var/www/index.html",
  ]);
  step("What changed?", ["diff", "web"]);
  step("Make the change an image", ["commit", "-m", "a new page", "web", "demo:2"]);
  step("Run that once, and remove it", ["run", "--rm", "demo:2", "cat", "/var/www/index.html"]);
  step("All images", ["images"]);
  step("All containers", ["ps", "-a"]);
  step("Remove the container", ["rm", "-f", "web"]);
  step("Remove the images", ["rmi", "demo:1", "demo:2", "busybox"]);
}

async function page(address: string): Promise<void> {
  console.log(`\n# Its web page\n$ curl http://${address}/`);
  for (let attempt = 1; ; attempt++) {
    try {
      console.log((await (await fetch(`http://${address}/`)).text()).trim());
      return;
    } catch (error) {
      if (attempt === 50) throw error;
      await Bun.sleep(50); // the server inside may still be starting
    }
  }
}

const engine = await startEngine();
let code = 0;
try {
  await show();
} catch (error) {
  console.error(`\ndemo: ${(error as Error).message}`);
  code = 1;
  spawnSync(lading, ["-H", host, "rm", "-f", "web"]);
} finally {
  engine.kill("SIGTERM");
  const ended = await engine.exited;
  spawnSync("ip", ["link", "delete", bridge]);
  for (const family of ["ip", "ip6", "inet", "bridge"]) {
    spawnSync("nft", ["delete", "table", family, `lading-${bridge}`]);
  }
  rmSync(folder, { recursive: true, force: true });
  console.log(`\n# The engine has ended (${ended}), its folder is removed`);
}
if (code === 0) console.log("demo: all of it worked");
process.exit(code);
