/** Terminals, as a person has them: tmux types and reads the screen. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, dockerPath, lading, TestEngine, whyNot } from "./engine.ts";

const reason = whyNot ?? (Bun.which("tmux") ? undefined : "needs tmux");

describe.skipIf(reason !== undefined)(`terminals${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let engine: TestEngine;
  const server = `lading-test-${process.pid}`;
  const tmux = (...args: string[]) => command(["tmux", "-L", server, ...args]);
  const type = (...keys: string[]) => tmux("send-keys", "-t", "t", ...keys);
  const screen = async () => (await tmux("capture-pane", "-p", "-t", "t")).stdout;

  async function until(text: string | RegExp): Promise<string> {
    for (let attempt = 0; attempt < 200; attempt++) {
      const now = await screen();
      if (typeof text === "string" ? now.includes(text) : text.test(now)) return now;
      await Bun.sleep(50);
    }
    throw new Error(`The screen never showed ${text}:\n${await screen()}\n${engine.log}`);
  }

  async function open(line: string): Promise<void> {
    const env = Object.entries(engine.env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
    await tmux(
      "new-session",
      "-d",
      "-s",
      "t",
      "-x",
      "100",
      "-y",
      "30",
      ...env,
      `${line}; echo ended $?; sleep 60`,
    );
  }

  beforeAll(async () => {
    engine = await TestEngine.open("tty");
    await engine.importBusybox();
  });
  afterAll(async () => {
    await tmux("kill-server");
    expect(await engine.close()).toEqual([]);
  });

  for (const [name, program] of [
    ["docker", dockerPath],
    ["lading", lading],
  ] as const) {
    test(`${name} run -it has a terminal that follows the window's size`, async () => {
      await open(`${program} run --rm -it --name ${name}-tty busybox sh`);
      await until(/[#$]\s*$/m);
      await type("stty size; tty", "Enter");
      await until("30 100");
      await until("/dev/pts/0");
      await tmux("resize-window", "-t", "t", "-x", "80", "-y", "20");
      await Bun.sleep(300);
      await type("stty size", "Enter");
      await until("20 80");
      await type("exit 4", "Enter");
      await until("ended 4");
      await tmux("kill-session", "-t", "t");
      expect((await engine.docker(["ps", "-aq"])).stdout).toBe("");
    });

    test(`${name} run -it lets go on the detach keys, and attach comes back`, async () => {
      await open(`${program} run -it --name ${name}-detach busybox sh`);
      await until(/[#$]\s*$/m);
      await type("V=kept", "Enter");
      await type("C-p", "C-q");
      await until("ended 0");
      await tmux("kill-session", "-t", "t");
      expect(await engine.ok(["ps", "--format", "{{.Names}}"])).toBe(`${name}-detach`);
      await open(`${program} attach ${name}-detach`);
      await type("", "Enter");
      await until(/[#$]\s*$/m);
      await type("echo is-$V", "Enter");
      await until("is-kept");
      await type("exit", "Enter");
      await until("ended 0");
      await tmux("kill-session", "-t", "t");
      await engine.ok(["rm", `${name}-detach`]);
    });

    test(`${name} exec -it runs a shell in a running container`, async () => {
      await engine.ok(["run", "-d", "--name", `${name}-exec`, "busybox", "sleep", "1000"]);
      await open(`${program} exec -it ${name}-exec sh`);
      await until(/[#$]\s*$/m);
      await type("ps", "Enter");
      await until("sleep 1000");
      await type("exit 3", "Enter");
      await until("ended 3");
      await tmux("kill-session", "-t", "t");
      await engine.ok(["rm", "-f", `${name}-exec`]);
    });
  }
});
