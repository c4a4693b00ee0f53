/**
 * Measures builds, in turns: Lading through its own client and through Docker's, and beside it whatever is
 * there of a Docker engine's classic builder, its BuildKit (by a client that carries it) and buildah.
 * `npm run bench -- --build [--against unix:///other.sock] [--buildkit-client PATH] [--files 50000] [--only WORD]`
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar, command, dockerPath, type Ran, TestEngine } from "../test/engine.ts";

interface Options {
  readonly against: string | undefined;
  readonly buildkitClient: string | undefined;
  readonly files: number;
  readonly only: string;
}

/** One way to build: a folder with a Dockerfile becomes an image. */
interface Builder {
  readonly name: string;
  build(folder: string, isFresh: boolean): Promise<Ran>;
}

interface Job {
  readonly name: string;
  readonly rounds: number;
  /** Nothing of the cache is used; else the build was done before. */
  readonly isFresh: boolean;
  readonly folder: (scratch: string) => string;
}

const base = "lading-bench-base";
const timeoutMs = 10 * 60_000;

function context(scratch: string, name: string, fill: (folder: string) => string): string {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  const dockerfile = join(folder, "Dockerfile");
  try {
    readFileSync(dockerfile);
  } catch {
    writeFileSync(dockerfile, fill(folder));
  }
  return folder;
}

/** Like a `node_modules`: 50 files in each of many folders, 0.3 to 2 KB each. */
function manyFiles(folder: string, count: number): void {
  for (let made = 0, at = 0; made < count; at++) {
    const inner = join(folder, "node_modules", `package-${at}`, "lib");
    mkdirSync(inner, { recursive: true });
    for (let file = 0; file < 50 && made < count; file++, made++) {
      writeFileSync(join(inner, `file${file}.js`), `// ${at} ${file}\n`.repeat(20 + (made % 100)));
    }
  }
}

const large = (files: number) => (scratch: string) =>
  context(scratch, "large", (folder) => {
    manyFiles(folder, files);
    return `FROM ${base}\nCOPY . /app\nRUN true\n`;
  });

const steps = (scratch: string) =>
  context(scratch, "steps", (folder) => {
    for (let at = 0; at < 2000; at++) {
      mkdirSync(join(folder, "src", `d${at % 40}`), { recursive: true });
      writeFileSync(join(folder, "src", `d${at % 40}`, `f${at}`), `${at} `.repeat(120));
    }
    return `FROM ${base}
WORKDIR /app
ENV A=1
ARG B=2
RUN echo one > one
COPY src src
RUN echo two > two
LABEL c=3
RUN echo three > three
EXPOSE 80
CMD ["sh"]
`;
  });

const runs = (count: number, name: string) => (scratch: string) =>
  context(scratch, name, () => {
    const lines = Array.from({ length: count }, (_, at) =>
      name === "true" ? `RUN true ${at}` : `RUN echo ${at} > /f${at}`,
    );
    return `FROM ${base}\n${lines.join("\n")}\n`;
  });

const stages = (scratch: string) =>
  context(scratch, "stages", () => {
    const names = ["a", "b", "c", "d"];
    const all = names.map(
      (name) => `FROM ${base} AS ${name}\nRUN sleep 2; echo ${name} > /${name}`,
    );
    return `${all.join("\n")}\nFROM ${base}\n${names.map((name) => `COPY --from=${name} /${name} /`).join("\n")}\n`;
  });

const gigabyte = (scratch: string) =>
  context(scratch, "gigabyte", (folder) => {
    const block = crypto.getRandomValues(new Uint8Array(65_536));
    const bytes = Buffer.alloc(1 << 30);
    for (let at = 0; at < bytes.length; at += block.length) {
      bytes.set(block, at);
      bytes.writeUInt32LE(at, at);
    }
    writeFileSync(join(folder, "big"), bytes);
    return `FROM ${base}\nCOPY big /big\n`;
  });

function jobsOf(files: number): Job[] {
  return [
    { name: `${files} files, cold`, rounds: 1, isFresh: true, folder: large(files) },
    { name: `${files} files, unchanged`, rounds: 3, isFresh: false, folder: large(files) },
    { name: "ten RUN true", rounds: 3, isFresh: true, folder: runs(10, "true") },
    { name: "ten steps, 2,000 files, cold", rounds: 3, isFresh: true, folder: steps },
    { name: "ten steps, 2,000 files, cached", rounds: 5, isFresh: false, folder: steps },
    { name: "four stages of 2 s", rounds: 1, isFresh: true, folder: stages },
    { name: "a chain of 60 layers", rounds: 1, isFresh: true, folder: runs(60, "chain") },
    { name: "COPY of 1 GB", rounds: 1, isFresh: true, folder: gigabyte },
  ];
}

function docker(name: string, client: string, host: string, isBuildkit: boolean): Builder {
  const env = { DOCKER_HOST: host, DOCKER_BUILDKIT: isBuildkit ? "1" : "0" };
  return {
    name,
    build: (folder, isFresh) => {
      const flags = isFresh ? ["--no-cache"] : [];
      return command([client, "build", "-q", "-t", "lading-bench", ...flags, folder], {
        env,
        timeoutMs,
      });
    },
  };
}

async function buildah(scratch: string): Promise<Builder | undefined> {
  if (!Bun.which("buildah")) return undefined;
  const roots = ["--root", join(scratch, "buildah"), "--runroot", join(scratch, "buildah-run")];
  const call = (...words: string[]) => command(["buildah", ...roots, ...words], { timeoutMs });
  const archive = join(scratch, "base.tar");
  writeFileSync(archive, busyboxTar());
  writeFileSync(join(scratch, "Containerfile"), 'FROM scratch\nADD base.tar /\nCMD ["sh"]\n');
  const made = await call(
    "bud",
    "-q",
    "--isolation",
    "chroot",
    "-t",
    base,
    "-f",
    join(scratch, "Containerfile"),
    scratch,
  );
  if (made.code !== 0) {
    console.error(`bench: Cannot measure buildah: ${made.stderr.trim().split("\n").at(-1)}`);
    return undefined;
  }
  const flags = ["-q", "--isolation", "chroot", "--pull=never", "--layers", "-t", "lading-bench"];
  return {
    name: "buildah",
    build: (folder, isFresh) => call("bud", ...flags, ...(isFresh ? ["--no-cache"] : []), folder),
  };
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

async function measure(job: Job, builder: Builder, folder: string): Promise<number | string> {
  const times: number[] = [];
  if (!job.isFresh) await builder.build(folder, false);
  for (let round = 0; round < job.rounds; round++) {
    const began = performance.now();
    const { code, stderr } = await builder.build(folder, job.isFresh);
    if (code !== 0) return stderr.trim().split("\n").at(-1)?.slice(0, 60) ?? `exit ${code}`;
    times.push(performance.now() - began);
  }
  return median(times);
}

/** The most memory that a process had, and what it has now, in MB. */
function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const megabytes = (name: string) =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024);
  return `${megabytes("VmRSS")} MB, at most ${megabytes("VmHWM")} MB`;
}

export async function benchBuilds({
  against,
  buildkitClient,
  files,
  only,
}: Options): Promise<void> {
  const engine = await TestEngine.openUnrecorded("benchb");
  const scratch = join(engine.folder, "scratch");
  mkdirSync(scratch);
  const hosts = [engine.host, ...(against ? [against] : [])];
  for (const host of hosts) {
    const env = { DOCKER_HOST: host };
    await command([dockerPath!, "import", "-c", 'CMD ["sh"]', "-", base], {
      env,
      input: busyboxTar(),
    });
  }
  const other = await buildah(scratch);
  const own: Builder = {
    name: "lading",
    build: (folder, isFresh) =>
      engine.lading(
        ["build", "-q", "-t", "lading-bench", ...(isFresh ? ["--no-cache"] : []), folder],
        {
          env: { XDG_CACHE_HOME: join(scratch, "home") },
          timeoutMs,
        },
      ),
  };
  const builders = [
    own,
    docker("docker", dockerPath!, engine.host, false),
    ...(against ? [docker("classic", dockerPath!, against, false)] : []),
    ...(against && buildkitClient ? [docker("buildkit", buildkitClient, against, true)] : []),
    ...(other ? [other] : []),
  ];
  console.log(`${"seconds".padEnd(34)}${builders.map(({ name }) => name.padStart(10)).join("")}`);
  for (const job of jobsOf(files).filter(({ name }) => name.includes(only))) {
    const folder = job.folder(scratch);
    const cells: string[] = [];
    for (const builder of builders) {
      const value = await measure(job, builder, folder);
      cells.push(typeof value === "number" ? (value / 1000).toFixed(2) : `(${value})`);
    }
    console.log(`${job.name.padEnd(34)}${cells.map((cell) => cell.padStart(10)).join("")}`);
  }
  console.log(`memory of the engine: ${memoryOf(engine.pid)}`);
  for (const host of hosts.slice(1)) {
    await command([dockerPath!, "rmi", "-f", "lading-bench", base], { env: { DOCKER_HOST: host } });
  }
  rmSync(scratch, { recursive: true, force: true });
  for (const line of await engine.close()) console.error(`bench: left behind: ${line}`);
}
