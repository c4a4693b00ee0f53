import { closeSync, realpathSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { Failure } from "../base/mod.ts";
import { openReadOnly, runAny } from "../sys/mod.ts";
import { readText } from "./watcher.ts";

const versionTimeoutMs = 10_000;
const builtIn = "crun";

/** An OCI runtime: its path and the arguments that come first, and whether it is crun. */
export interface Program {
  readonly argv: readonly string[];
  /** crun writes its process ID into a pipe and gives terminals away; others can do neither. */
  readonly isCrun: boolean;
  /** Written down with each container; undefined for the built-in one, which is always there. */
  readonly record: string | undefined;
}

/** The path of the program of the runtime `name`. @throws "unavailable" — it is not installed */
export function findRuntime(name: string, program: string): string {
  const path = Bun.which(program, { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
  if (path) return path;
  const why = `OCI runtime "${name}": fork/exec ${program}: no such file or directory`;
  throw new Failure("unavailable", `Cannot run containers: ${why}`, {
    hint: `Install ${program}, or mend the path`,
  });
}

/** The OCI runtimes, by the names that containers ask for. A path is looked up when it is first used. */
export class Programs {
  readonly #commands: Readonly<Record<string, readonly string[]>>;
  readonly #found = new Map<string, Promise<Program>>();
  #guarded: number | undefined;

  constructor(commands: Readonly<Record<string, readonly string[]>>) {
    this.#commands = { [builtIn]: [builtIn], ...commands };
  }

  /** @throws "invalid" — nobody defined the name | "unavailable" — its program is not installed */
  async get(name: string): Promise<Program> {
    const command = Object.hasOwn(this.#commands, name) ? this.#commands[name] : undefined;
    if (!command) throw new Failure("invalid", `unknown or invalid runtime name: ${name}`);
    const found = this.#found.get(name) ?? this.#find(name, command);
    this.#found.set(name, found);
    found.catch(() => this.#found.delete(name)); // it may be installed by the next time
    return await found;
  }

  /** The one that a container was started with, by what stands in its directory. */
  async of(directory: string): Promise<Program> {
    const record = readText(`${directory}/${recordName}`);
    if (!record) return await this.get(builtIn);
    return { ...(JSON.parse(record) as Omit<Program, "record">), record };
  }

  close(): void {
    if (this.#guarded !== undefined) closeSync(this.#guarded);
  }

  async #find(name: string, [program = "", ...args]: readonly string[]): Promise<Program> {
    const path = findRuntime(name, program);
    if (name === builtIn) return { argv: [this.#guard(path)], isCrun: true, record: undefined };
    const { stdout } = await runAny([path, "--version"], { timeoutMs: versionTimeoutMs });
    const command = { argv: [path, ...args], isCrun: /^crun version/m.test(String(stdout)) };
    return { ...command, record: JSON.stringify(command) };
  }

  /**
   * crun guards its own file from containers: each time it binds it read-only somewhere, and starts itself
   * anew from there, a sixth of a container's start. What is read-only already it takes as it is.
   */
  #guard(path: string): string {
    // The directory, not the file: a process has the last part of its path as its name.
    this.#guarded = openReadOnly(dirname(realpathSync(path)));
    if (this.#guarded === undefined) return path;
    return `/proc/${process.pid}/fd/${this.#guarded}/${basename(path)}`;
  }
}

/** Our own crun, which is always there. */
export function isBuiltIn({ record }: Program): boolean {
  return record === undefined;
}

const recordName = "runtime";

/** Keeps with a container which runtime it has, for later daemons that may have other definitions. */
export function writeRecord(directory: string, { record }: Program): void {
  if (record !== undefined) writeFileSync(`${directory}/${recordName}`, record, { mode: 0o600 });
}
