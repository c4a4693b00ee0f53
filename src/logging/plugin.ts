/**
 * Log drivers that are other programs: lines go to them as protocol buffers through a FIFO.
 * Protocol: https://docs.docker.com/engine/extend/plugins_logging/
 */
import { closeSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, log } from "../base/mod.ts";
import { openPlugins } from "../plugin/mod.ts";
import { makeFifo, openFifo, writeAvailable } from "../sys/mod.ts";
import type { Line, LogDriver } from "./lines.ts";
import type { Subject } from "./subject.ts";

const kind = "LogDriver";
const openTimeoutMs = 10_000;
/** So long a plugin may read nothing. */
const writeTimeoutMs = 30_000;
const waitMs = 10;
/** What is in the FIFO at the end is still read, before the plugin is told to leave it. */
const graceMs = 500;

const plugins = openPlugins();

/** True when a plugin of this name can be found; whether it keeps logs is asked when one is opened. */
export function isPlugin(name: string): boolean {
  return plugins.names().includes(name);
}

/** The log plugins that were used since the start. */
export function logPlugins(): string[] {
  return plugins.known(kind).map(({ name }) => name);
}

/** @throws "not_found" | "unavailable" — there is no such plugin, or it does not read */
export async function openPluginDriver(
  name: string,
  subject: Subject,
  options: Readonly<Record<string, string>>,
): Promise<LogDriver> {
  const plugin = await plugins.get(name, kind);
  const { logDirectory } = subject;
  mkdirSync(logDirectory, { recursive: true, mode: 0o700 });
  for (const left of readdirSync(logDirectory).filter((entry) => entry.endsWith(".fifo"))) {
    rmSync(`${logDirectory}/${left}`, { force: true }); // of an earlier run: its ends may be open
  }
  const path = `${logDirectory}/${crypto.randomUUID()}.fifo`;
  makeFifo(path);
  let file: number;
  try {
    await plugin.call("LogDriver.StartLogging", { File: path, Info: infoOf(subject, options) });
    file = await whenRead(path, name);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  return {
    async send(lines) {
      for (const line of lines) await write(file, encodeEntry(line));
    },
    close() {
      closeSync(file);
      rmSync(path, { force: true });
      void sleep(graceMs)
        .then(() => plugin.call("LogDriver.StopLogging", { File: path }))
        .catch((error) => log("debug", "A log plugin did not hear the end", { name, error }));
    },
  };
}

/** Opens the FIFO once the plugin reads it. */
async function whenRead(path: string, name: string): Promise<number> {
  for (let waitedMs = 0; waitedMs < openTimeoutMs; waitedMs += waitMs) {
    try {
      return openFifo(path, "write");
    } catch (error) {
      if (!(error instanceof Failure) || !error.message.includes("ENXIO")) throw error;
    }
    await sleep(waitMs);
  }
  throw new Failure("unavailable", `plugin "${name}" does not read the log`);
}

async function write(file: number, bytes: Uint8Array): Promise<void> {
  let rest = bytes;
  for (let waitedMs = 0; rest.length > 0; ) {
    const sent = writeAvailable(file, rest);
    if (sent !== "waits") {
      rest = rest.subarray(sent);
      waitedMs = 0;
      continue;
    }
    if (waitedMs >= writeTimeoutMs) throw new Failure("timeout", "The plugin reads no more");
    await sleep(waitMs);
    waitedMs += waitMs;
  }
}

function infoOf(subject: Subject, options: Readonly<Record<string, string>>) {
  return {
    Config: options,
    ContainerID: subject.id,
    ContainerName: `/${subject.name}`,
    ContainerEntrypoint: subject.command.split(" ")[0],
    ContainerArgs: subject.command.split(" ").slice(1),
    ContainerImageID: subject.imageId,
    ContainerImageName: subject.imageName,
    ContainerCreated: subject.created,
    ContainerEnv: subject.env,
    ContainerLabels: subject.labels,
    LogPath: "",
    DaemonName: "docker",
  };
}

/** A `LogEntry` behind its length in four bytes. */
export function encodeEntry({ stream, timeNs, bytes, part }: Line): Uint8Array {
  const metadata = part
    ? Buffer.concat([
        numberField(1, BigInt(part.isLast)),
        bytesField(2, Buffer.from(part.id)),
        numberField(3, BigInt(part.ordinal)),
      ])
    : undefined;
  const entry = Buffer.concat([
    bytesField(1, Buffer.from(stream === 2 ? "stderr" : "stdout")),
    numberField(2, timeNs),
    bytesField(3, bytes),
    ...(part && !part.isLast ? [numberField(4, 1n)] : []),
    ...(metadata ? [bytesField(5, metadata)] : []),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(entry.length);
  return Buffer.concat([length, entry]);
}

/** https://protobuf.dev/programming-guides/encoding/ */
function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return new Uint8Array([...bytes, Number(rest)]);
}

const numberField = (field: number, value: bigint) =>
  Buffer.concat([varint(BigInt(field << 3)), varint(value)]);

const bytesField = (field: number, bytes: Uint8Array) =>
  Buffer.concat([varint(BigInt((field << 3) | 2)), varint(BigInt(bytes.length)), bytes]);
