import { expect, test } from "bun:test";
import { BuildView } from "./build-view.ts";

/** What a terminal would show: it knows the two sequences that the view moves by. */
function screen() {
  let lines: string[] = [];
  const write = (text: string) => {
    for (const part of text.split(/(\x1b\[\d+A\r\x1b\[J)/)) {
      const up = /^\x1b\[(\d+)A/.exec(part);
      if (up) lines = lines.slice(0, lines.length - Number(up[1]));
      else if (part !== "") lines.push(...part.replace(/\n$/, "").split("\n"));
    }
  };
  const text = () => lines.join("\n").replace(/\x1b\[\d*m/g, "");
  return { write, text, raw: () => lines.join("\n") };
}

function view(explains = false, rows = 24) {
  const shown = screen();
  let nowMs = 0;
  const size = () => ({ columns: 60, rows });
  const made = new BuildView({ size, explains, write: shown.write, nowMs: () => nowMs });
  const step = (number: number, text: string) =>
    made.take({ kind: "step", step: number, total: 4, text, stage: "app" });
  const settle = (number: number, outcome: "cached" | "reused" | "made" | "failed" | "cancelled") =>
    made.take({ kind: "settled", step: number, outcome, ms: 1200, why: "x is new", reasons: [] });
  const pass = (ms: number) => {
    nowMs += ms;
    made.draw();
  };
  return { ...shown, view: made, step, settle, pass };
}

test("BuildView tells cached, reused, made, failed and cancelled steps apart", () => {
  const { step, settle, text, view: live } = view();
  for (const number of [1, 2, 3, 4, 5]) step(number, `RUN ${number}`);
  settle(1, "cached");
  settle(2, "reused");
  settle(3, "made");
  settle(4, "failed");
  settle(5, "cancelled");
  live.take({ kind: "skipped", stage: "docs", steps: 3 });
  live.end("");
  expect(text().split("\n")).toEqual([
    "✔ [app] 1/4 RUN 1 CACHED",
    "✔ [app] 2/4 RUN 2 REUSED 1.2s",
    "✔ [app] 3/4 RUN 3 1.2s",
    "✘ [app] 4/4 RUN 4 FAILED 1.2s",
    "– [app] 5/4 RUN 5 CANCELLED",
    "- stage docs is not needed",
    "[+] 0.0s: 1 made, 1 cached, 1 reused, 1 failed, 1 cancelled, 1 stage skipped",
  ]);
});

test("BuildView shows the time and the last lines of what runs, in place", () => {
  const { step, pass, text, view: live } = view();
  step(1, "RUN make");
  const output = Array.from({ length: 9 }, (_, index) => `line ${index}\n`).join("");
  live.take({ kind: "output", step: 1, stream: 1, text: `${output}50 %\r99 %` });
  pass(2500);
  expect(text()).toBe(
    "[+] Building 2.5s (0/4)\n» [app] 1/4 RUN make 2.5s\n    line 6\n    line 7\n    line 8\n    99 %",
  );
});

test("BuildView shows all kept output of what failed, and nothing moves the cursor", () => {
  const { step, settle, text, raw, view: live } = view(true);
  step(1, "RUN make\n  all");
  const hostile = "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m\x08\n";
  live.take({ kind: "output", step: 1, stream: 2, text: hostile });
  settle(1, "failed");
  expect(text()).toContain("✘ [app] 1/4 RUN make all FAILED 1.2s\n  because x is new\n  red\n");
  expect(raw()).not.toContain("\x1b[2J");
  expect(raw()).not.toContain("title");
});

test("BuildView never draws more lines than the terminal has", () => {
  const { step, text } = view(false, 6);
  for (let number = 1; number <= 20; number++) step(number, `RUN ${number}`);
  expect(text().split("\n")).toHaveLength(5);
});
