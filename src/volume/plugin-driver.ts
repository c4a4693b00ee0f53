/**
 * A volume driver that is another program.
 * Protocol: https://docs.docker.com/engine/extend/plugins_volume/
 */
import { Failure, isFailure } from "../base/mod.ts";
import type { Plugin, Plugins } from "../plugin/mod.ts";
import type { Scope } from "./types.ts";

const kind = "VolumeDriver";
/** A driver may have to attach a disk of the network. */
const mountTimeoutMs = 120_000;
const volumesMax = 100_000;

/** A volume in a plugin's words. */
export interface PluginVolume {
  readonly name: string;
  readonly mountpoint: string;
  readonly createdAt: string;
  readonly status: unknown;
}

type Options = Readonly<Record<string, string>>;

/** What can be asked of one driver. Each call finds the plugin anew when it went and came back. */
export class PluginDriver {
  readonly name: string;
  readonly #plugins: Plugins;

  constructor(plugins: Plugins, name: string) {
    this.#plugins = plugins;
    this.name = name;
  }

  /** @throws "not_found" — there is no such plugin */
  async find(): Promise<Plugin> {
    try {
      return await this.#plugins.get(this.name, kind);
    } catch (error) {
      if (!isFailure(error, "not_found")) throw error;
      const why = `error looking up volume plugin ${this.name}: plugin "${this.name}" not found`;
      throw new Failure("not_found", why, { cause: error });
    }
  }

  async #call(method: string, body: unknown, timeoutMs?: number) {
    const plugin = await this.find();
    return await plugin.call(`${kind}.${method}`, body, timeoutMs ? { timeoutMs } : {});
  }

  async create(name: string, options: Options): Promise<void> {
    await this.#call("Create", { Name: name, Opts: options });
  }

  async remove(name: string): Promise<void> {
    await this.#call("Remove", { Name: name });
  }

  async mount(name: string, id: string): Promise<string> {
    const { Mountpoint } = await this.#call("Mount", { Name: name, ID: id }, mountTimeoutMs);
    if (typeof Mountpoint === "string" && /^\/[^\0]+$/.test(Mountpoint)) return Mountpoint;
    const shown = JSON.stringify(Mountpoint ?? null).slice(0, 200);
    throw new Failure("corrupt", `plugin "${this.name}" mounted "${name}" at ${shown}, no path`);
  }

  async unmount(name: string, id: string): Promise<void> {
    await this.#call("Unmount", { Name: name, ID: id });
  }

  /** @throws "not_found" — the plugin does not know it, or cannot say */
  async get(name: string): Promise<PluginVolume> {
    const { Volume } = await this.#call("Get", { Name: name });
    const volume = volumeFrom(Volume);
    if (volume) return volume;
    throw new Failure("not_found", `get ${name}: no such volume`);
  }

  async list(): Promise<PluginVolume[]> {
    const { Volumes } = await this.#call("List", {});
    const list = Array.isArray(Volumes) ? Volumes.slice(0, volumesMax) : [];
    return list.map(volumeFrom).filter((volume) => volume !== undefined);
  }

  /** Drivers of old do not say: theirs is this machine. */
  async scope(): Promise<Scope> {
    try {
      const { Capabilities } = await this.#call("Capabilities", {});
      const { Scope } = (Capabilities ?? {}) as { Scope?: unknown };
      return String(Scope).toLowerCase() === "global" ? "global" : "local";
    } catch (error) {
      if (isFailure(error, "internal")) return "local";
      throw error;
    }
  }
}

function volumeFrom(value: unknown): PluginVolume | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { Name, Mountpoint, CreatedAt, Status } = value as Readonly<Record<string, unknown>>;
  const text = (part: unknown) => (typeof part === "string" ? part.slice(0, 4096) : "");
  if (text(Name) === "") return undefined;
  const createdAt = Number.isNaN(Date.parse(text(CreatedAt))) ? "" : text(CreatedAt);
  return { name: text(Name), mountpoint: text(Mountpoint), createdAt, status: Status };
}

/** The drivers that can be found now, and what is wrong with others. */
export async function findDrivers(plugins: Plugins) {
  const drivers: PluginDriver[] = [];
  const warnings: string[] = [];
  for (const name of plugins.names()) {
    try {
      await plugins.get(name, kind);
      drivers.push(new PluginDriver(plugins, name));
    } catch (error) {
      // A plugin of another kind is none of ours.
      if (!isFailure(error, "not_found")) warnings.push((error as Error).message);
    }
  }
  return { drivers, warnings };
}
