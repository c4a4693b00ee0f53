import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { enlargePipe, makeFifo, openFifo, realTimeNs, writeAvailable } from "../sys/mod.ts";
import { everything, textOf } from "./laboratory.ts";
import { dataPath, indexPath, segmentSizes } from "./log-format.ts";
import { readLog } from "./log-read.ts";
import { LogWriter } from "./log-write.ts";
import type { Chunk, OutputQuery } from "./types.ts";

let directory: string;
let pipes: { 1: number; 2: number };
let writer: LogWriter;

beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/lading-log-`);
  const open = (name: string) => {
    makeFifo(`${directory}/${name}`);
    const file = openFifo(`${directory}/${name}`, "both");
    enlargePipe(file, 1 << 20);
    return file;
  };
  pipes = { 1: open("a"), 2: open("b") };
});
afterEach(() => {
  writer.close();
  for (const file of [pipes[1], pipes[2]]) closeSync(file);
  rmSync(directory, { recursive: true });
});

const openLog = (bytesMax = 1 << 20, isNewRun = true) => {
  writer = new LogWriter(`${directory}/log`, { bytesMax, isNewRun });
};

/** Prints to a stream and lets the writer take it, dropping what is too old. */
function print(stream: 1 | 2, text: string): void {
  writeAvailable(pipes[stream], Buffer.from(text));
  for (;;) {
    while (writer.tooOld !== undefined) writer.dropOldest();
    if (writer.take(pipes[stream], stream) === "waits") return;
  }
}

const ask = (more: Partial<OutputQuery> = {}) => {
  return readLog(`${directory}/log`, { ...everything, follow: false, ...more }, undefined);
};

async function chunksOf(chunks: AsyncIterable<Chunk>): Promise<string[]> {
  const all: string[] = [];
  for await (const { stream, bytes } of chunks) all.push(`${stream}:${Buffer.from(bytes)}`);
  return all;
}

test("readLog() gives both streams in order, or one", async () => {
  openLog();
  for (const [stream, text] of [
    [1, "a\n"],
    [2, "b\n"],
    [1, "c\n"],
  ] as const)
    print(stream, text);
  expect(await chunksOf(ask())).toEqual(["1:a\n", "2:b\n", "1:c\n"]);
  expect(await chunksOf(ask({ stdout: false }))).toEqual(["2:b\n"]);
  expect(await chunksOf(ask({ stderr: false }))).toEqual(["1:a\n", "1:c\n"]);
});

test("readLog() gives nothing where there is no log", async () => {
  openLog();
  const absent = readLog(`${directory}/absent`, { ...everything, follow: false }, undefined);
  expect(await chunksOf(absent)).toEqual([]);
  expect(await chunksOf(ask())).toEqual([]);
});

const tails: [
  name: string,
  printed: [1 | 2, string][],
  more: Partial<OutputQuery>,
  text: string,
][] = [
  ["none of it", [[1, "a\nb\n"]], { tail: 0 }, ""],
  ["one line", [[1, "a\nb\n"]], { tail: 1 }, "b\n"],
  ["more lines than there are", [[1, "a\nb\n"]], { tail: 9 }, "a\nb\n"],
  ["a line without an end", [[1, "a\nb\nc"]], { tail: 2 }, "b\nc"],
  ["empty lines", [[1, "a\n\n\n"]], { tail: 2 }, "\n\n"],
  [
    "a line in many records",
    [
      [1, "a\nb"],
      [2, "x\n"],
      [1, "c"],
      [2, "y\n"],
      [1, "d\n"],
    ],
    { tail: 1, stderr: false },
    "bcd\n",
  ],
  [
    "lines of both streams",
    [
      [1, "a\n"],
      [2, "b\n"],
      [1, "c\n"],
    ],
    { tail: 2 },
    "b\nc\n",
  ],
  [
    "lines of one stream",
    [
      [1, "a\n"],
      [2, "b\n"],
      [1, "c\n"],
    ],
    { tail: 2, stderr: false },
    "a\nc\n",
  ],
];
for (const [name, printed, more, text] of tails) {
  test(`readLog() with tail gives ${name}`, async () => {
    openLog();
    for (const [stream, part] of printed) print(stream, part);
    expect(await textOf(ask(more))).toBe(text);
  });
}

test("readLog() with since and until keeps to records between them, whole lines only", async () => {
  openLog();
  print(1, "old\nbegun ");
  await Bun.sleep(3);
  const sinceNs = realTimeNs();
  print(1, "earlier\nnew\n");
  await Bun.sleep(3);
  const untilNs = realTimeNs();
  await Bun.sleep(3);
  print(1, "newer\n");
  expect(await textOf(ask({ sinceNs }))).toBe("new\nnewer\n");
  expect(await textOf(ask({ sinceNs, untilNs }))).toBe("new\n");
  expect(await textOf(ask({ untilNs }))).toBe("old\nbegun earlier\nnew\n");
  expect(await textOf(ask({ sinceNs: realTimeNs() }))).toBe("");
});

test("a new run's first line is whole, though the last run ended within a line", async () => {
  openLog();
  print(1, "cut");
  writer.close();
  await Bun.sleep(2);
  const sinceNs = realTimeNs();
  // Found before the next run has begun, read after.
  const early = ask({ sinceNs });
  await Bun.sleep(5);
  openLog();
  print(1, "whole\n");
  expect(await textOf(early)).toBe("whole\n");
  expect(await textOf(ask({ sinceNs }))).toBe("whole\n");
  expect(await textOf(ask())).toBe("cutwhole\n");
});

test("a log within its bound: oldest lines go, the rest is whole, in both streams", async () => {
  const bytesMax = 40_000;
  openLog(bytesMax);
  const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index}`);
  for (const [index, line] of lines.entries()) print(index % 7 === 0 ? 2 : 1, `${line}\n`);
  const got = (await textOf(ask())).split("\n").slice(0, -1);
  expect(got.length).toBeGreaterThan(1_000);
  expect(got).toEqual(lines.slice(-got.length));
  const tail = (await textOf(ask({ tail: 900 }))).split("\n").slice(0, -1);
  expect(tail).toEqual(lines.slice(-900));
  const names = readdirSync(`${directory}/log`);
  expect(names.length).toBeLessThanOrEqual(2 * segmentSizes(bytesMax).segmentsMax);
});

test("a line over a segment's border is whole, and its rest is left out when its start is gone", async () => {
  openLog(16_384);
  const long = "x".repeat(6_000);
  print(1, `first\n${long}`);
  print(2, "other\n");
  print(1, `${long}\nlast\n`);
  expect(await textOf(ask({ stderr: false }))).toBe(`first\n${long}${long}\nlast\n`);
  for (const segment of [1, 2]) {
    rmSync(dataPath(`${directory}/log`, segment));
    rmSync(indexPath(`${directory}/log`, segment));
  }
  expect(await textOf(ask({ stderr: false }))).toBe("last\n");
});

test("a writer killed between a record and its bytes leaves a log that the next one goes on with", async () => {
  openLog();
  print(1, "before\n");
  await Bun.sleep(2);
  // As take() does before it moves: the record is there, its bytes are not.
  expect(writer.take(pipes[2], 2)).toBe("waits");
  writer.close();
  expect(await chunksOf(ask())).toEqual(["1:before\n"]);
  openLog(1 << 20, false);
  print(1, "after\n");
  expect(await chunksOf(ask())).toEqual(["1:before\n", "1:after\n"]);
});

test("a writer killed behind its bytes loses none: they are the last record's", async () => {
  openLog();
  print(2, "counted\n");
  writer.close();
  const path = dataPath(`${directory}/log`, 1);
  writeFileSync(path, "counted\nnot counted\n");
  openLog(1 << 20, false);
  print(1, "after\n");
  expect(await chunksOf(ask())).toEqual(["2:counted\nnot counted\n", "1:after\n"]);
});

test("bytes without an index are stdout's", async () => {
  openLog();
  print(1, "text\n");
  writer.close();
  writeFileSync(indexPath(`${directory}/log`, 1), "");
  expect(await chunksOf(ask())).toEqual(["1:text\n"]);
  openLog(1 << 20, false);
  print(2, "more\n");
  expect(await textOf(ask())).toBe("text\nmore\n");
});
