/** The live view of a build on a terminal: finished steps above, running ones with their last lines below. */
import type { BuildEventMessage, ProgressMessage } from "../api/schema.ts";

interface Step {
  readonly number: number;
  readonly title: string;
  readonly beganMs: number;
  /** The last lines of its output; the last one may be unfinished. */
  lines: string[];
}

export interface ViewOptions {
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly write: (text: string) => void;
  readonly explains: boolean;
  readonly nowMs?: () => number;
}

/** Lines of a running step that are shown, and those that are kept for a failure. */
const [shownLines, keptLines] = [4, 60];
const [dim, green, cyan, yellow, red, plain] = [2, 32, 36, 33, 31, 0].map(
  (code) => `\x1b[${code}m`,
) as [string, string, string, string, string, string];

type Settled = Extract<BuildEventMessage, { kind: "settled" }>;

export class BuildView {
  readonly #options: ViewOptions;
  readonly #now: () => number;
  readonly #beganMs: number;
  readonly #running = new Map<number, Step>();
  readonly #counts = new Map<Settled["outcome"] | "skipped", number>();
  #pulls = new Map<string, string>();
  #total = 0;
  #drawn = 0;
  #hasFailed = false;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#now = options.nowMs ?? (() => performance.now());
    this.#beganMs = this.#now();
  }

  take(event: BuildEventMessage): void {
    switch (event.kind) {
      case "step": {
        const { step: number, text, stage, total } = event;
        this.#total = total;
        const title = `${stage === "" ? "" : `[${stage}] `}${number}/${total} ${oneLine(text)}`;
        this.#running.set(number, { number, title, beganMs: this.#now(), lines: [] });
        this.draw();
        return;
      }
      case "output":
        this.#output(event.step, event.text);
        return;
      case "settled":
        this.#settle(event);
        return;
      case "skipped":
        this.#count("skipped");
        this.#above([`${dim}- stage ${event.stage} is not needed${plain}`]);
        return;
      case "warning":
        this.#above([`${yellow}! ${clean(event.text)}${plain}`]);
        return;
    }
  }

  /** Base images on their way. */
  pull({ id = "", status = "", progressDetail }: ProgressMessage): void {
    const { current, total } = progressDetail ?? {};
    const share = current && total ? ` ${Math.floor((current / total) * 100)} %` : "";
    if (/^(Pull complete|Already exists|Status|Digest)/.test(status)) this.#pulls.delete(id);
    else this.#pulls.set(id, `${id === "" ? "" : `${id}: `}${status}${share}`);
    if (this.#pulls.size > 50) this.#pulls = new Map();
  }

  #count(what: Settled["outcome"] | "skipped"): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  #output(number: number, text: string): void {
    const step = this.#running.get(number);
    if (!step) return;
    const [first = "", ...rest] = text.split("\n");
    const last = step.lines.pop() ?? "";
    step.lines.push(last + first, ...rest);
    step.lines = step.lines.slice(-keptLines).map((line) => line.slice(-2_000));
  }

  #settle({ step: number, outcome, ms, why }: Settled): void {
    const step = this.#running.get(number);
    if (!step) return;
    this.#running.delete(number);
    this.#count(outcome);
    const end = {
      cached: `${cyan}CACHED${plain}`,
      reused: `${cyan}REUSED${plain} ${seconds(ms)}`,
      made: seconds(ms),
      failed: `${red}FAILED${plain} ${seconds(ms)}`,
      cancelled: `${yellow}CANCELLED${plain}`,
    }[outcome];
    const signs = { cached: "✔", reused: "✔", made: "✔", failed: "✘", cancelled: "–" };
    const colour = outcome === "failed" ? red : outcome === "cancelled" ? yellow : green;
    const lines = [`${colour}${signs[outcome]}${plain} ${step.title} ${end}`];
    if (this.#options.explains && why !== "") lines.push(`  ${dim}because ${clean(why)}${plain}`);
    if (outcome === "failed" && !this.#hasFailed) {
      this.#hasFailed = true;
      lines.push(...step.lines.map((line) => `  ${clean(line)}`).filter((line) => line.trim()));
    }
    this.#above(lines);
  }

  /** Writes lines for good, above what is live. */
  #above(lines: readonly string[]): void {
    this.#options.write(`${this.#erased()}${lines.map((line) => `${line}\n`).join("")}`);
    this.draw();
  }

  #erased(): string {
    const up = this.#drawn;
    this.#drawn = 0;
    return up === 0 ? "" : `\x1b[${up}A\r\x1b[J`;
  }

  /** Draws what is live anew; call it now and then for the times. */
  draw(): void {
    const { columns, rows } = this.#options.size();
    const done = [...this.#counts].reduce(
      (sum, [what, n]) => sum + (what === "skipped" ? 0 : n),
      0,
    );
    const head = `[+] Building ${seconds(this.#now() - this.#beganMs)} (${done}/${this.#total})`;
    const body = [...this.#running.values()].flatMap((step) => [
      `» ${step.title} ${seconds(this.#now() - step.beganMs)}`,
      ...step.lines
        .filter((line) => line.trim() !== "")
        .slice(-shownLines)
        .map((line) => `    ${clean(line)}`),
    ]);
    const pulls = [...this.#pulls.values()].map((line) => `  ${clean(line)}`);
    const lines = [head, ...body, ...pulls].slice(0, Math.max(1, rows - 1));
    const cut = lines.map((line) => [...line].slice(0, Math.max(10, columns - 1)).join(""));
    const text = cut.map((line) => (line.startsWith("    ") ? `${dim}${line}${plain}` : line));
    const erased = this.#erased();
    this.#drawn = lines.length;
    this.#options.write(`${erased}${text.map((line) => `${line}\n`).join("")}`);
  }

  /** Leaves one line that sums up, and one with the image when there is one. */
  end(image: string): void {
    const words = (["made", "cached", "reused", "failed", "cancelled", "skipped"] as const).flatMap(
      (what) => {
        const count = this.#counts.get(what) ?? 0;
        if (count === 0) return [];
        const stages = count === 1 ? "stage" : "stages";
        return what === "skipped" ? [`${count} ${stages} skipped`] : [`${count} ${what}`];
      },
    );
    const time = seconds(this.#now() - this.#beganMs);
    const sum = `[+] ${time}: ${words.join(", ") || "nothing to do"}\n`;
    this.#options.write(`${this.#erased()}${sum}${image === "" ? "" : `Image ${image}\n`}`);
  }
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)}s`;

function oneLine(text: string): string {
  return clean(text.replace(/\s*\n\s*/g, " "));
}

const escapes = /\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?/g;
const controls = /[\x00-\x1f\x7f-\x9f]/g;

/** Without what would move the cursor: output is hostile. A carriage return begins its line anew. */
function clean(text: string): string {
  const visible = text.replace(/\r+$/, "");
  const line = visible.slice(visible.lastIndexOf("\r") + 1);
  return line.replace(escapes, "").replaceAll("\t", "  ").replace(controls, "");
}
