import { Failure } from "../base/mod.ts";
import type { Place } from "./hcl-syntax.ts";

/** A file's text and a place in it. */
export class Scanner {
  readonly text: string;
  readonly file: string;
  at = 0;

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
  }

  get isEnd(): boolean {
    return this.at >= this.text.length;
  }

  place(at = this.at): Place {
    let line = 1;
    for (let end = this.text.indexOf("\n"); end >= 0 && end < at; line++) {
      end = this.text.indexOf("\n", end + 1);
    }
    return { file: this.file, line };
  }

  /** @throws always: Failure "invalid" with file and line */
  fail(problem: string): never {
    throw mistake(this.place(), problem);
  }

  peek(word: string): boolean {
    return this.text.startsWith(word, this.at);
  }

  take(word: string): boolean {
    if (!this.peek(word)) return false;
    this.at += word.length;
    return true;
  }

  expect(word: string): void {
    if (!this.take(word)) this.fail(`expected "${word}", found ${this.#found()}`);
  }

  match(shape: RegExp): string | undefined {
    const sticky = new RegExp(shape.source, shape.unicode ? "uy" : "y");
    sticky.lastIndex = this.at;
    const found = sticky.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  /** Spaces and comments; with `lines`, line ends as well. */
  skip(lines: boolean): void {
    for (;;) {
      this.match(lines ? /[ \t\r\n]+/ : /[ \t\r]+/);
      if (this.peek("#") || this.peek("//")) this.match(/[^\n]*/);
      else if (this.peek("/*")) {
        const end = this.text.indexOf("*/", this.at + 2);
        if (end < 0) this.fail("a comment does not end");
        this.at = end + 2;
      } else return;
    }
  }

  name(): string | undefined {
    return this.match(/[\p{L}_][\p{L}\p{N}_-]*/u);
  }

  #found(): string {
    return this.isEnd ? "the end" : JSON.stringify(this.text.slice(this.at, this.at + 10));
  }
}

/** An error at a place, as a compiler tells it. */
export function mistake({ file, line }: Place, problem: string, hint?: string): Failure {
  const options = hint === undefined ? {} : { hint };
  return new Failure("invalid", `${file}:${line}: ${problem}`, options);
}
