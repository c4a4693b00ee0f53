/**
 * The pump's thread. It waits for all pipes and terminals of all processes, moves what goes to logs
 * inside the kernel, and passes on to the daemon's thread what that one waits for.
 */
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import {
  armEpoll,
  disarmEpoll,
  epollEvent,
  readAvailable,
  spliceAvailable,
  waitEpoll,
  writeAvailable,
} from "../sys/mod.ts";
import { PumpedLog, type Step } from "./pump-log.ts";
import { encodeNotice, notice, type PumpCommand } from "./pump-protocol.ts";
import { compileFilter } from "./seccomp-filter.ts";

const commandBytesMax = 64 << 10;
const unsentMax = 100_000;
const finishStepsMax = 2_000;

class PumpThread {
  readonly #epoll: number;
  readonly #socket: number;
  readonly #sink = openSync("/dev/null", "w");
  readonly #logs = new Map<number, PumpedLog>();
  readonly #byToken = new Map<number, PumpedLog>();
  readonly #discarded = new Map<number, number>();
  #unsent: Uint8Array[] = [];
  #isOpen = true;

  constructor({ epoll, socket }: { epoll: number; socket: number }) {
    this.#epoll = epoll;
    this.#socket = socket;
    armEpoll(epoll, socket, { events: epollEvent.readable, token: 0 });
  }

  run(): void {
    while (this.#isOpen) {
      for (const { events, token } of waitEpoll(this.#epoll, this.#unsent.length > 0 ? 1 : -1)) {
        const log = this.#byToken.get(token);
        if (token === 0) this.#obey();
        else if (log) this.#pump(log, token);
        else if (this.#discarded.has(token)) this.#throwAway(token);
        else this.#tell(notice.ready, token, events);
      }
      this.#flush();
    }
    this.#tell(notice.closed, 0);
  }

  #obey(): void {
    const bytes = Buffer.alloc(commandBytesMax);
    for (;;) {
      const length = readAvailable(this.#socket, bytes);
      if (length === "waits") return;
      if (length === 0) {
        this.#isOpen = false;
        return;
      }
      this.#execute(JSON.parse(bytes.toString("utf8", 0, length)));
    }
  }

  #execute(command: PumpCommand): void {
    switch (command.do) {
      case "log":
        this.#begin(command);
        break;
      case "close":
        this.#isOpen = false;
        break;
      case "discard":
        this.#discarded.set(command.token, command.file);
        armEpoll(this.#epoll, command.file, { events: epollEvent.readable, token: command.token });
        break;
      case "keep":
        if (this.#discarded.delete(command.token)) disarmEpoll(this.#epoll, command.file);
        this.#tell(notice.kept, command.token);
        break;
      case "closeDiscarded":
        this.#discarded.delete(command.token);
        closeSync(command.file);
        break;
      case "compile":
        this.#tell(notice.ready, command.token, compile(command) ? 1 : 0);
        break;
      default:
        this.#executeOn(command);
    }
  }

  #executeOn(command: Extract<PumpCommand, { id: number }>): void {
    const log = this.#logs.get(command.id);
    if (!log) return;
    if (command.do === "watch") this.#watch(log, command.position);
    else if (command.do === "drop") this.#resume(log);
    else if (command.do === "leave") this.#end(log);
    else {
      log.isFinishing = true;
      this.#finish(log);
    }
  }

  #begin(command: Extract<PumpCommand, { do: "log" }>): void {
    const log = new PumpedLog(command, this.#sink);
    this.#logs.set(log.id, log);
    if (log.isLost) this.#tell(notice.lost, log.id);
    this.#arm(log);
  }

  #arm(log: PumpedLog): void {
    for (const { token, file } of pollable(log)) {
      this.#byToken.set(token, log);
      armEpoll(this.#epoll, file, { events: epollEvent.readable, token });
    }
  }

  #disarm(log: PumpedLog): void {
    for (const { token, file } of pollable(log)) {
      this.#byToken.delete(token);
      disarmEpoll(this.#epoll, file);
    }
  }

  #pump(log: PumpedLog, token: number): void {
    const step = log.step(token);
    if (step === "full") this.#park(log);
    if (step === "lost") this.#tell(notice.lost, log.id);
    if (step === "ended") {
      const ended = pollable(log).find((one) => one.token === token);
      if (ended) disarmEpoll(this.#epoll, ended.file);
    }
    if (step === "more") this.#progressed(log);
  }

  #progressed(log: PumpedLog): void {
    if (!log.isWatched) return;
    log.isWatched = false;
    this.#tell(notice.progress, log.id);
  }

  #watch(log: PumpedLog, position: number): void {
    if (log.position > position) this.#tell(notice.progress, log.id);
    else log.isWatched = true;
  }

  /** The oldest segment has to go first, and the other thread says when: a reader may be in it. */
  #park(log: PumpedLog): void {
    if (!log.isParked) this.#disarm(log);
    log.isParked = true;
    this.#tell(notice.full, log.id, log.tooOld ?? 0);
    this.#progressed(log);
  }

  #resume(log: PumpedLog): void {
    if (!log.isParked) return;
    log.isParked = false;
    log.dropOldest();
    this.#arm(log);
    if (log.isFinishing) this.#finish(log);
  }

  #finish(log: PumpedLog): void {
    if (log.isParked) return;
    for (const { token } of pollable(log)) {
      let step: Step = "more";
      // A process that outlived its container may write for ever: the bound is more than pipes hold.
      for (let count = 0; step === "more" && count < finishStepsMax; count++) {
        step = log.step(token);
        if (step !== "lost") continue;
        this.#tell(notice.lost, log.id);
        step = "more";
      }
      if (step === "full") {
        this.#park(log);
        return;
      }
    }
    this.#end(log);
    this.#tell(notice.finished, log.id);
  }

  #end(log: PumpedLog): void {
    this.#disarm(log);
    this.#logs.delete(log.id);
    log.close();
  }

  #throwAway(token: number): void {
    const file = this.#discarded.get(token)!;
    const moved = throwAway(file, this.#sink);
    if (moved !== 0) return;
    disarmEpoll(this.#epoll, file);
  }

  #tell(kind: number, id: number, value = 0): void {
    this.#unsent.push(encodeNotice({ kind, id, value }));
    this.#flush();
  }

  /** The other thread may be busy: what it has no room for waits here. */
  #flush(): void {
    while (this.#unsent.length > 0) {
      if (writeAvailable(this.#socket, this.#unsent[0]!) === "waits") break;
      this.#unsent.shift();
    }
    if (this.#unsent.length > unsentMax) throw new Error("The daemon's thread does not listen");
  }
}

function pollable(log: PumpedLog): { token: number; file: number }[] {
  return log.terminal ? [log.terminal] : [...log.sources];
}

/** An empty file says that the profile is one that the OCI runtime has to compile. */
function compile({ from, to }: { from: string; to: string }): boolean {
  try {
    const program = compileFilter(JSON.parse(readFileSync(from, "utf8")));
    writeFileSync(to, program ?? "");
    return true;
  } catch {
    return false; // the other thread says what that means
  }
}

const lost = Buffer.alloc(64 << 10);

/** A terminal cannot be spliced everywhere; there is no hurry with what nobody wants. */
function throwAway(file: number, sink: number): number | "waits" {
  try {
    return spliceAvailable(file, sink, { bytesMax: 1 << 20 });
  } catch {
    return readAvailable(file, lost);
  }
}

declare const self: Worker;
self.onmessage = ({ data }: MessageEvent<{ epoll: number; socket: number }>) => {
  new PumpThread(data).run();
};
