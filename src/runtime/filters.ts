import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { release } from "node:os";
import { Failure, log, toFailure } from "../base/mod.ts";
import { defaultCapabilities } from "./defaults.ts";
import type { Pump } from "./pump.ts";
import { type OciSeccomp, resolveSeccomp } from "./seccomp.ts";
import { tightenProfile } from "./seccomp-strict.ts";

/** Of Debian's package golang-github-containers-common. */
export const debianProfile = "/usr/share/containers/seccomp.json";
const filtersMax = 64;
const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const [major = 0, minor = 0] = release().split(".").map(Number);

/** A profile for one set of capabilities, and its compiled form where there is one. */
export interface Filter {
  readonly profile: OciSeccomp;
  /** Base64 of the kernel's program. */
  readonly program: string | undefined;
}

/** System call filters, resolved and compiled once each. */
export class Filters {
  readonly #directory: string;
  readonly #pump: Pump;
  readonly #defaultPath: string;
  readonly #filters = new Map<string, Promise<Filter>>();

  constructor(directory: string, pump: Pump, defaultPath: string) {
    this.#directory = directory;
    this.#pump = pump;
    this.#defaultPath = defaultPath;
  }

  /** Compiles what most containers need, so that the first start need not wait for it. */
  warm(): void {
    this.get("default", defaultCapabilities).catch((error: unknown) => {
      log("warn", "Cannot prepare the default seccomp profile", { error });
    });
  }

  /**
   * `text` is "default", "unconfined" (no filter) or a profile in Docker's format.
   * @throws "invalid" — not a profile | "unavailable" — the default one is not installed
   */
  async get(text: string, capabilities: readonly string[]): Promise<Filter | undefined> {
    if (text === "unconfined") return undefined;
    const key = createHash("sha256").update(`${capabilities.join()}\n${text}`).digest("hex");
    let filter = this.#filters.get(key);
    if (!filter) {
      filter = this.#make(text, capabilities);
      this.#filters.set(key, filter);
      filter.catch(() => this.#filters.delete(key));
      const [oldest] = this.#filters.keys();
      if (this.#filters.size > filtersMax && oldest) this.#filters.delete(oldest);
    }
    return await filter;
  }

  async #make(text: string, capabilities: readonly string[]): Promise<Filter> {
    const source = text === "default" ? await this.#readDefault() : text;
    const architecture = architectures[process.arch] ?? process.arch;
    const profile = resolveSeccomp(source, {
      capabilities,
      architecture,
      kernel: [major, minor],
    });
    return { profile, program: await this.#compile(profile) };
  }

  async #readDefault(): Promise<string> {
    try {
      const text = await readFile(this.#defaultPath, "utf8");
      return this.#defaultPath === debianProfile ? tightenProfile(text) : text;
    } catch (cause) {
      throw new Failure(
        "unavailable",
        `Cannot read the default seccomp profile "${this.#defaultPath}"`,
        { hint: "Install golang-github-containers-common, or give --seccomp-profile", cause },
      );
    }
  }

  /** On the pump's thread: it takes 15 ms. The result stays on disk for the next daemon. */
  async #compile(profile: OciSeccomp): Promise<string | undefined> {
    const text = JSON.stringify(profile);
    const name = createHash("sha256").update(text).digest("hex");
    const path = `${this.#directory}/${name}`;
    try {
      await mkdir(this.#directory, { recursive: true });
      if (!existsSync(`${path}.bpf`)) {
        await writeFile(`${path}.json`, text);
        await this.#pump.compile(`${path}.json`, `${path}.new`);
        await rename(`${path}.new`, `${path}.bpf`);
      }
      return (await readFile(`${path}.bpf`, "utf8")) || undefined;
    } catch (error) {
      // Slower, not weaker: the OCI runtime compiles the profile itself, at each start.
      log("warn", "Cannot compile a seccomp profile ahead", { error: toFailure(error).message });
      return undefined;
    }
  }
}
