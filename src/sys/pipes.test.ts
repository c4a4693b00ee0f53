import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { armEpoll, createEpoll, disarmEpoll, epollEvent, waitEpoll } from "./epoll.ts";
import { makeFifo, openFifo, readAvailable, readCached, writeAvailable } from "./fifo.ts";
import { openProcess, signalProcess, takeFile } from "./pidfd.ts";
import { spliceAvailable } from "./splice.ts";
import { acceptConnection, listenAt, receiveFile, sendFile, socketPair } from "./unix-socket.ts";

function withFolder<T>(task: (folder: string) => T): T {
  const folder = mkdtempSync(`${tmpdir()}/lading-pipes-`);
  try {
    return task(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a FIFO keeps what was written while anybody holds it, and reading never waits", () => {
  withFolder((folder) => {
    makeFifo(`${folder}/f`);
    expect(() => makeFifo(`${folder}/f`)).toThrow("EEXIST");
    expect(() => openFifo(`${folder}/f`, "write")).toThrow("ENXIO");
    const holder = openFifo(`${folder}/f`, "both");
    const writer = openFifo(`${folder}/f`, "write");
    writeAvailable(writer, Buffer.from("kept"));
    closeSync(writer);
    const reader = openFifo(`${folder}/f`, "read");
    const into = Buffer.alloc(16);
    expect(readAvailable(reader, into)).toBe(4);
    expect(readAvailable(reader, into)).toBe("waits");
    closeSync(holder);
    expect(readAvailable(reader, into)).toBe(0);
    closeSync(reader);
  });
});

test("writeAvailable() takes what fits, then waits; without a reader it fails", () => {
  withFolder((folder) => {
    makeFifo(`${folder}/f`);
    const reader = openFifo(`${folder}/f`, "read");
    const writer = openFifo(`${folder}/f`, "write");
    const much = Buffer.alloc(1 << 20);
    const taken = writeAvailable(writer, much);
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(much.length);
    expect(writeAvailable(writer, much)).toBe("waits");
    closeSync(reader);
    expect(() => writeAvailable(writer, much)).toThrow("EPIPE");
    closeSync(writer);
  });
});

test("spliceAvailable() moves bytes to a place in a file", () => {
  withFolder((folder) => {
    makeFifo(`${folder}/f`);
    const pipe = openFifo(`${folder}/f`, "both");
    const file = openSync(`${folder}/file`, "w+");
    writeAvailable(pipe, Buffer.from("hello"));
    expect(spliceAvailable(pipe, file, { bytesMax: 3, toOffset: 2 })).toBe(3);
    expect(spliceAvailable(pipe, file, { bytesMax: 9, toOffset: 5 })).toBe(2);
    expect(spliceAvailable(pipe, file, { bytesMax: 9, toOffset: 7 })).toBe("waits");
    expect(readFileSync(`${folder}/file`, "latin1")).toBe("\0\0hello");
    const into = Buffer.alloc(4);
    expect([2, "waits"]).toContain(readCached(file, into, 5));
    for (const one of [pipe, file]) closeSync(one);
  });
});

test("epoll tells which descriptors are ready, once where it was asked to", () => {
  withFolder((folder) => {
    makeFifo(`${folder}/f`);
    const pipe = openFifo(`${folder}/f`, "both");
    const epoll = createEpoll();
    const token = 2 ** 40 + 1;
    armEpoll(epoll, pipe, { events: epollEvent.readable | epollEvent.oneShot, token });
    expect(waitEpoll(epoll, 0)).toEqual([]);
    writeAvailable(pipe, Buffer.from("x"));
    expect(waitEpoll(epoll, -1)).toEqual([{ events: epollEvent.readable, token }]);
    expect(waitEpoll(epoll, 0)).toEqual([]);
    armEpoll(epoll, pipe, { events: epollEvent.readable, token: 7 });
    expect(waitEpoll(epoll, -1)).toEqual([{ events: epollEvent.readable, token: 7 }]);
    disarmEpoll(epoll, pipe);
    disarmEpoll(epoll, pipe);
    expect(waitEpoll(epoll, 0)).toEqual([]);
    for (const one of [pipe, epoll]) closeSync(one);
  });
});

test("a file that was sent is kept by the socket until somebody takes it", () => {
  withFolder((folder) => {
    const [sender, store] = socketPair();
    expect(receiveFile(store, { peek: true })).toBeUndefined();
    const sent = openSync(`${folder}/file`, "w+");
    sendFile(sender, sent);
    closeSync(sent);
    closeSync(sender);
    const copies = [receiveFile(store, { peek: true })!, receiveFile(store, { peek: true })!];
    expect(new Set(copies).size).toBe(2);
    const last = receiveFile(store, { peek: false })!;
    for (const file of [...copies, last]) closeSync(file);
    expect(receiveFile(store, { peek: true })).toBeUndefined();
    closeSync(store);
  });
});

test("listenAt() accepts, and says when nobody knocks", () => {
  withFolder((folder) => {
    const listener = listenAt(`${folder}/s`);
    expect(acceptConnection(listener)).toBeUndefined();
    closeSync(listener);
    expect(() => listenAt(`/${"x".repeat(200)}`)).toThrow("too long");
  });
});

test("a process by descriptor takes signals, gives files, and is never another's number", async () => {
  const child = Bun.spawn(["sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
  const process = openProcess(child.pid)!;
  const taken = takeFile(process, 1)!;
  expect(taken).toBeGreaterThan(2);
  expect(takeFile(process, 999)).toBeUndefined();
  expect(signalProcess(process, 9)).toBe(true);
  await child.exited;
  expect(signalProcess(process, 9)).toBe(false);
  expect(openProcess(2 ** 22 + 1)).toBeUndefined();
  for (const file of [process, taken]) closeSync(file);
});
