import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  bundleSpec,
  everything,
  makeLaboratory,
  outcomeOf,
  processSpec,
  textOf,
} from "./laboratory.ts";
import { openRuntime } from "./runtime.ts";
import type { Logging, RunningProcess, Runtime } from "./types.ts";

setDefaultTimeout(60_000);
let laboratory: ReturnType<typeof makeLaboratory>;
let runtime: Runtime;

beforeAll(async () => {
  laboratory = makeLaboratory();
  runtime = await openRuntime({ directory: `${laboratory.directory}/run` });
});
afterAll(async () => {
  await runtime.reconcile(new Set());
  await runtime.close();
  laboratory[Symbol.dispose]();
});

let logCount = 0;
const disk = (bytesMax = 1 << 20): Extract<Logging, { kind: "disk" }> => ({
  kind: "disk",
  directory: `${laboratory.directory}/log${++logCount}`,
  bytesMax,
});
const kinds: [string, () => Logging][] = [
  ["logged", () => disk()],
  ["unlogged", () => ({ kind: "none" })],
];

async function withProcess<T>(
  start: { args: string[]; stdin?: boolean; terminal?: boolean; logging: Logging },
  task: (running: RunningProcess, id: string) => Promise<T>,
): Promise<T> {
  const process = processSpec(start.args, { terminal: start.terminal ?? false });
  const spec = bundleSpec(laboratory.rootfs, [], { process });
  const running = await runtime.start(spec, {
    stdin: start.stdin ?? false,
    logging: start.logging,
    size: { rows: 33, columns: 101 },
  });
  try {
    return await task(running, spec.id);
  } finally {
    await runtime.remove(spec.id);
  }
}

for (const [name, logging] of kinds) {
  test(`write() and closeStdin() reach a ${name} process, whatever the size`, async () => {
    const sent = Buffer.alloc(5 << 20, "0123456789abcde\n");
    await withProcess({ args: ["md5sum"], stdin: true, logging: logging() }, async (running) => {
      for (let at = 0; at < sent.length; at += 300_000) {
        await running.write(sent.subarray(at, at + 300_000));
      }
      running.closeStdin();
      const { text, exitCode } = await outcomeOf(running);
      expect(text).toBe(`${new Bun.CryptoHasher("md5").update(sent).digest("hex")}  -\n`);
      expect(exitCode).toBe(0);
    });
  });

  test(`closeStdin() ends a ${name} process that was sent nothing`, async () => {
    await withProcess({ args: ["cat"], stdin: true, logging: logging() }, async (running) => {
      running.closeStdin();
      expect(await outcomeOf(running)).toMatchObject({ text: "", exitCode: 0 });
      await expect(running.write(Buffer.from("late"))).rejects.toThrow("stdin is closed");
    });
  });

  test(`a terminal of a ${name} process echoes, has the size asked for, and changes it`, async () => {
    const args = ["sh", "-c", "tty; stty size; read x; stty size; echo got $x; sleep 0.1; exit 4"];
    await withProcess(
      { args, stdin: true, terminal: true, logging: logging() },
      async (running) => {
        let text = "";
        for await (const { bytes } of running.read(everything)) {
          text += Buffer.from(bytes).toString();
          if (text.endsWith("33 101\r\n")) {
            running.resize(20, 70);
            await running.write(Buffer.from("word\r"));
          }
        }
        expect(text).toBe("/dev/pts/0\r\n33 101\r\nword\r\n20 70\r\ngot word\r\n");
        expect((await running.exited).exitCode).toBe(4);
      },
    );
  });

  test(`a terminal of a ${name} process passes on Ctrl-C`, async () => {
    const args = ["sh", "-c", "trap 'echo interrupted; exit 6' INT; echo ready; sleep 1000 & wait"];
    await withProcess(
      { args, stdin: true, terminal: true, logging: logging() },
      async (running) => {
        let text = "";
        for await (const { bytes } of running.read(everything)) {
          text += Buffer.from(bytes).toString();
          if (text === "ready\r\n") await running.write(Buffer.from("\x03"));
        }
        expect(text).toContain("interrupted");
        expect((await running.exited).exitCode).toBe(6);
      },
    );
  });

  test(`a terminal of a ${name} process carries much at once, whole`, async () => {
    const args = [
      "sh",
      "-c",
      "stty -onlcr; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo line $i; done",
    ];
    await withProcess({ args, terminal: true, logging: logging() }, async (running) => {
      const { text } = await outcomeOf(running);
      expect(text.split("\n").slice(0, -1)).toEqual(
        Array.from({ length: 30_000 }, (_, index) => `line ${index + 1}`),
      );
    });
  });

  test(`read() of a ${name} process serves several readers, and one that leaves`, async () => {
    const args = [
      "sh",
      "-c",
      "read x; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done",
    ];
    await withProcess({ args, stdin: true, logging: logging() }, async (running) => {
      const leaving = new AbortController();
      const readers = [
        textOf(running.read(everything)),
        textOf(running.read({ ...everything, from: "now" })),
        textOf(running.read({ ...everything, signal: leaving.signal })),
      ];
      leaving.abort();
      await running.write(Buffer.from("go\n"));
      const [first, second, left] = await Promise.all(readers);
      expect(first!.split("\n")).toHaveLength(20_001);
      expect(second).toBe(first!);
      expect(left!.length).toBeLessThan(first!.length);
    });
  });
}

test("exec() has a terminal of its own, and stdin", async () => {
  await withProcess({ args: ["sleep", "1000"], logging: disk() }, async (running, id) => {
    const inTerminal = await runtime.exec(
      id,
      "terminal",
      // The size is there a moment after the start.
      processSpec(
        ["sh", "-c", "tty; until stty size 2>/dev/null | grep .; do :; done; read x; echo $x"],
        {
          terminal: true,
        },
      ),
      { stdin: true, size: { rows: 5, columns: 50 } },
    );
    await inTerminal.write(Buffer.from("a\n"));
    const { text } = await outcomeOf(inTerminal);
    expect(text).toContain("5 50\r\n");
    expect(text).toEndWith("a\r\n");
    const piped = await runtime.exec(id, "piped", processSpec(["cat"]), { stdin: true });
    await piped.write(Buffer.from("through"));
    piped.closeStdin();
    expect(await outcomeOf(piped)).toMatchObject({ text: "through", exitCode: 0 });
    running.signal(9);
  });
});

test("a process that nobody reads is not held up", async () => {
  const args = ["sh", "-c", "head -c 20000000 /dev/zero; exit 8"];
  await withProcess({ args, logging: { kind: "none" } }, async (running) => {
    expect((await running.exited).exitCode).toBe(8);
  });
});

test("a reader attached late to an unlogged process gets what comes from then on", async () => {
  const args = ["sh", "-c", "head -c 3000000 /dev/zero; read x; echo after"];
  await withProcess({ args, stdin: true, logging: { kind: "none" } }, async (running) => {
    await Bun.sleep(1_300); // the first bytes are thrown away by then
    const late = textOf(running.read(everything));
    await Bun.sleep(50);
    await running.write(Buffer.from("x\n"));
    expect(await late).toBe("after\n");
  });
});

test("a log keeps to its bound, and a reader that follows misses nothing", async () => {
  const logging = disk(64 << 10);
  const args = ["sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); echo line $i; done"];
  await withProcess({ args, logging }, async (running) => {
    const { text } = await outcomeOf(running);
    expect(text.split("\n").slice(0, -1)).toEqual(
      Array.from({ length: 50_000 }, (_, index) => `line ${index + 1}`),
    );
  });
  const { stdout } = Bun.spawnSync(["du", "-sb", logging.directory]);
  expect(Number.parseInt(stdout.toString(), 10)).toBeLessThan((64 << 10) + 8192);
  const rest = await textOf(runtime.readLog(logging.directory, { ...everything, follow: false }));
  expect(rest).toMatch(/^line \d+\n/); // from the start of a line on
  expect(rest).toEndWith("line 50000\n");
  const tail = { ...everything, follow: false, tail: 3 };
  expect(await textOf(runtime.readLog(logging.directory, tail))).toBe(
    "line 49998\nline 49999\nline 50000\n",
  );
});

test("a log goes on when a container starts again, and a line cut short by the end stays apart", async () => {
  const logging = disk();
  await withProcess({ args: ["printf", "one"], logging }, (running) => outcomeOf(running));
  const sinceNs = BigInt(Date.now()) * 1_000_000n;
  await Bun.sleep(2);
  const second = await withProcess({ args: ["printf", "two\\n"], logging }, (running) => {
    return textOf(running.read({ ...everything, sinceNs }));
  });
  expect(second).toBe("two\n");
  const all = { ...everything, follow: false };
  expect(await textOf(runtime.readLog(logging.directory, all))).toBe("onetwo\n");
});
