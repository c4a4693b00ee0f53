import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { entries, findEntry, groups } from "./commands.ts";
import {
  type Answer,
  type Asked,
  FakeEngine,
  frame,
  runAgainst,
  type Script,
} from "./fake-engine.ts";
import { commandHelp, groupHelp, programHelp } from "./help.ts";

const id = "c".repeat(64);

async function withEngine<T>(script: Script, work: (engine: FakeEngine) => Promise<T>): Promise<T> {
  const engine = new FakeEngine(script);
  try {
    return await work(engine);
  } finally {
    engine.close();
  }
}

/** An engine with one container that prints, echoes its input and ends with `exitCode`. */
function container({
  exitCode = 0,
  start = { status: 204 },
  create = { json: { Id: id, Warnings: [] }, status: 201 },
}: {
  exitCode?: number;
  start?: Answer;
  create?: Answer;
} = {}): Script {
  const started = Promise.withResolvers<boolean>();
  return ({ method, path }: Asked) => {
    if (path === "/containers/create") return create;
    if (path === `/containers/${id}/attach`) {
      return {
        hijack: async function* (input) {
          if (!(await started.promise)) return;
          yield frame(1, "out\n");
          yield frame(2, "err\n");
          yield frame(1, `in:${await input.whole()}`);
        },
      };
    }
    if (path === `/containers/${id}/wait`) return { json: { StatusCode: exitCode }, delayMs: 50 };
    if (path === `/containers/${id}/start`) {
      started.resolve("status" in start && start.status === 204);
      return start;
    }
    return method === "GET" && path === "/containers/json" ? { json: [] } : undefined;
  };
}

test("the program registry and its help are there without an engine", async () => {
  const ran = (...argv: string[]) =>
    Bun.spawnSync([`${import.meta.dir}/../../bin/lading`, ...argv], { env: process.env });
  for (const argv of [["registry"], ["registry", "--help"], ["help", "registry"]]) {
    expect(ran(...argv).stdout.toString()).toStartWith("Usage:  lading registry COMMAND");
  }
  expect(ran("help", "registry", "gc").stdout.toString()).toStartWith("Usage:  lading registry gc");
  expect(ran("help", "daemon").stdout.toString()).toStartWith("Usage:  lading daemon");
  const wrong = ran("registry", "serv");
  expect(wrong.exitCode).toBe(1);
  expect(wrong.stderr.toString()).toContain("'serv' is not a command of lading registry");
});

describe("run", () => {
  test("attaches and waits before it starts, and ends with the container's code", async () => {
    await withEngine(container({ exitCode: 7 }), async (engine) => {
      const ran = await runAgainst(engine, ["run", "--rm", "busybox", "sh", "-c", "x"]);
      expect(ran).toEqual({ code: 7, out: "out\nin:", errors: "err\n" });
      expect(engine.order[0]).toBe("POST /containers/create");
      expect(engine.order.slice(1, 3).sort()).toEqual([
        `POST /containers/${id}/attach`,
        `POST /containers/${id}/wait`,
      ]);
      expect(engine.order[3]).toBe(`POST /containers/${id}/start`);
      const wait = engine.asked.find(({ path }) => path.endsWith("/wait"));
      expect(wait?.query.get("condition")).toBe("removed");
    });
  });

  test("sends its input and its end with -i", async () => {
    await withEngine(container(), async (engine) => {
      const ran = await runAgainst(engine, ["run", "-i", "busybox", "cat"], { stdin: "hello" });
      expect(ran.out).toBe("out\nin:hello");
      const body = JSON.parse(engine.asked[0]!.body);
      expect(body).toMatchObject({ OpenStdin: true, StdinOnce: true, AttachStdin: true });
    });
  });

  test("prints the ID and does not attach with -d", async () => {
    await withEngine(container(), async (engine) => {
      const ran = await runAgainst(engine, ["run", "-d", "--name", "n", "busybox"]);
      expect(ran).toEqual({ code: 0, out: `${id}\n`, errors: "" });
      expect(engine.order).toEqual(["POST /containers/create", `POST /containers/${id}/start`]);
      expect(engine.asked[0]!.query.get("name")).toBe("n");
    });
  });

  const failures: [message: string, code: number][] = [
    ['exec: "nope": executable file not found in $PATH', 127],
    ['exec: "/bin": permission denied', 126],
    ["No command specified", 125],
  ];
  for (const [message, code] of failures) {
    test(`ends with ${code} when the start fails: ${message}`, async () => {
      const script = container({ start: { status: 400, json: { message } } });
      await withEngine(script, async (engine) => {
        const ran = await runAgainst(engine, ["run", "busybox", "nope"]);
        expect(ran.code).toBe(code);
        expect(ran.errors).toBe(
          `lading: Error response from daemon: ${message}\n\nRun 'lading run --help' for more information\n`,
        );
      });
    });
  }

  test("pulls an image that is missing, then creates again", async () => {
    let creations = 0;
    const script: Script = (asked) => {
      if (asked.path === "/images/create") return { json: { status: "Pull complete", id: "l1" } };
      if (asked.path === "/containers/create" && creations++ === 0) {
        return { status: 404, json: { message: "No such image: busybox:latest" } };
      }
      return container()(asked);
    };
    await withEngine(script, async (engine) => {
      const ran = await runAgainst(engine, ["run", "-d", "busybox"]);
      expect(ran.code).toBe(0);
      expect(ran.errors).toBe("Unable to find image 'busybox:latest' locally\nl1: Pull complete\n");
      const pull = engine.asked.find(({ path }) => path === "/images/create");
      expect(pull?.query.get("fromImage")).toBe("busybox");
      expect(pull?.query.get("tag")).toBe("latest");
    });
  });

  test("ends with 125 and the reason when the pull fails", async () => {
    const script: Script = ({ path }) => {
      if (path === "/images/create") return { status: 500, json: { message: "no registry" } };
      return { status: 404, json: { message: "No such image: nope:latest" } };
    };
    await withEngine(script, async (engine) => {
      const ran = await runAgainst(engine, ["run", "nope"]);
      expect(ran.code).toBe(125);
      expect(ran.errors).toStartWith("Unable to find image 'nope:latest' locally\nlading: ");
      expect(ran.errors).toContain("Error response from daemon: no registry");
      const never = await runAgainst(engine, ["run", "--pull", "never", "nope"]);
      expect(never.errors).toStartWith("lading: Error response from daemon: No such image");
    });
  });

  test("writes the ID with --cidfile, and refuses a file that is there", async () => {
    const folder = mkdtempSync(`${tmpdir()}/lading-cid-`);
    try {
      await withEngine(container(), async (engine) => {
        const args = ["run", "-d", "--cidfile", `${folder}/id`, "busybox"];
        expect((await runAgainst(engine, args)).code).toBe(0);
        expect(readFileSync(`${folder}/id`, "utf8")).toBe(id);
        const again = await runAgainst(engine, args);
        expect(again.code).toBe(125);
        expect(again.errors).toContain("container ID file found");
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("refuses a terminal for input from a pipe", async () => {
    await withEngine(container(), async (engine) => {
      const ran = await runAgainst(engine, ["run", "-it", "busybox"]);
      expect(ran).toEqual({ code: 1, out: "", errors: "the input device is not a TTY\n" });
      expect(engine.asked).toEqual([]);
    });
  });
});

describe("exec", () => {
  const script =
    (exitCode: number): Script =>
    ({ path, body }) => {
      if (path === "/containers/one/exec") return { status: 201, json: { Id: "e1" } };
      if (path === "/exec/e1/start" && JSON.parse(body).Detach === true) return { status: 200 };
      if (path === "/exec/e1/start") {
        return {
          hijack: async function* (input) {
            yield frame(1, `got:${await input.whole()}`);
          },
        };
      }
      if (path === "/exec/e1/json") return { json: { ExitCode: exitCode, Running: false } };
      return undefined;
    };

  test("ends with the command's code", async () => {
    await withEngine(script(3), async (engine) => {
      const args = ["exec", "-i", "-e", "A=1", "-w", "/x", "-u", "1:2", "one", "cat", "-x"];
      const ran = await runAgainst(engine, args, { stdin: "data" });
      expect(ran).toEqual({ code: 3, out: "got:data", errors: "" });
      expect(JSON.parse(engine.asked[0]!.body)).toMatchObject({
        AttachStdin: true,
        Cmd: ["cat", "-x"],
        Env: ["A=1"],
        WorkingDir: "/x",
        User: "1:2",
      });
    });
  });

  test("does not wait with -d", async () => {
    await withEngine(script(3), async (engine) => {
      const ran = await runAgainst(engine, ["exec", "-d", "one", "cat"]);
      expect(ran).toEqual({ code: 0, out: "", errors: "" });
    });
  });
});

describe("the words of the command line", () => {
  const cases: [args: string[], code: number, start: string][] = [
    [["--version"], 0, ""],
    [["ps", "--foo"], 125, "unknown flag: --foo\n"],
    [["ps", "--fromat"], 125, "unknown flag: --fromat\nDid you mean --format?\n"],
    [["ps", "-x"], 125, "unknown shorthand flag: 'x' in -x\n"],
    [["psx"], 1, "lading: 'psx' is not a lading command"],
    [["container", "lss"], 1, "lading: 'container lss' is not a lading command"],
    [["ps", "a"], 1, "lading: 'lading ps' accepts no arguments\n"],
    [["rm"], 1, "lading: 'lading rm' requires at least 1 argument\n"],
    [["rename", "a"], 1, "lading: 'lading rename' requires 2 arguments\n"],
    [["port"], 1, "lading: 'lading port' requires at least 1 argument\n"],
    [["port", "a", "b", "c"], 1, "lading: 'lading port' requires at most 2 arguments\n"],
    [["--foo"], 125, "unknown flag: --foo\n"],
    [["-H", "a", "-H", "b", "ps"], 1, "Specify only one -H\n"],
    [["-c", "other", "ps"], 1, 'context "other": context not found\n'],
    [["help", "nope"], 1, "unknown help topic: nope\n"],
    [["ps"], 1, "Cannot connect to the engine at unix:///no/such/sock"],
  ];
  for (const [args, code, start] of cases) {
    test(`${args.join(" ")} ends with ${code}`, async () => {
      const ran = await runAgainst(undefined, args);
      expect(ran.code).toBe(code);
      expect(ran.errors.slice(0, start.length)).toBe(start);
    });
  }

  test("a bad name among several is told of, and the others are done", async () => {
    const script: Script = ({ path }) =>
      path === "/containers/bad"
        ? { status: 404, json: { message: "No such container: bad" } }
        : { status: 204 };
    await withEngine(script, async (engine) => {
      const ran = await runAgainst(engine, ["rm", "a", "bad", "b"]);
      expect(ran).toEqual({
        code: 1,
        out: "a\nb\n",
        errors: "Error response from daemon: No such container: bad\n",
      });
    });
  });
});

describe("commands.ts", () => {
  test("every command loads, and its help shows usage and flags", () => {
    for (const entry of entries) {
      const { command } = entry.load();
      const text = commandHelp(entry, entry.names[0]!, command);
      expect(text).toStartWith(`Usage:  lading ${entry.names[0]}`);
      expect(entry.about).not.toBe("");
      for (const [name, flag] of Object.entries(command.flags)) {
        if (!flag.hidden) expect(text).toContain(`--${name}`);
        if (flag.sameAs) expect(Object.keys(command.flags)).toContain(flag.sameAs);
      }
    }
    expect(entries.length).toBeGreaterThan(55);
  });

  test("no two commands have one name, and no two flags of a command one letter", () => {
    const names = entries.flatMap((entry) => entry.names);
    expect(new Set(names).size).toBe(names.length);
    for (const entry of entries) {
      const letters = Object.values(entry.load().command.flags).flatMap(({ short }) => short ?? []);
      expect(new Set(letters).size).toBe(letters.length);
    }
  });

  test("every file that a command names is there", () => {
    const source = readFileSync(new URL("./commands.ts", import.meta.url), "utf8");
    const files = [...source.matchAll(/require\("\.\/([\w-]+\.ts)"\)/g)].map(([, file]) => file!);
    expect(files.length).toBe(entries.length);
    for (const file of files) {
      expect(existsSync(new URL(`./${file}`, import.meta.url))).toBe(true);
    }
  });

  test("help names groups and commands", () => {
    expect(programHelp()).toContain("Management Commands:");
    for (const group of Object.keys(groups)) {
      expect(programHelp()).toContain(`  ${group}`);
      expect(groupHelp(group)).toContain("Commands:");
    }
    expect(findEntry("ps")).toBe(findEntry("container ls"));
  });
});
