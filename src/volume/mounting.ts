import { readdir, rm } from "node:fs/promises";
import { Failure, log, toFailure } from "../base/mod.ts";
import type { Plugins } from "../plugin/mod.ts";
import type { Directories } from "./directories.ts";
import { mountLocal, parseLocalOptions, unmountLocal } from "./local-mount.ts";
import { PluginDriver } from "./plugin-driver.ts";
import type { Place, Rows, VolumeRow } from "./rows.ts";

/** Who has which volume mounted. The caller holds the lock of the volume. */
export class Mounting {
  readonly #rows: Rows;
  readonly #directories: Directories;
  readonly #plugins: Plugins;

  constructor(rows: Rows, directories: Directories, plugins: Plugins) {
    this.#rows = rows;
    this.#directories = directories;
    this.#plugins = plugins;
  }

  /** The plugin of a volume; undefined for one of ours. */
  driverOf({ driver }: VolumeRow): PluginDriver | undefined {
    return driver === "local" ? undefined : new PluginDriver(this.#plugins, driver);
  }

  /** Where a volume is: of a plugin's, where it was last. */
  placeOf({ name, driver }: VolumeRow): Place {
    if (driver === "local") return { mountpoint: this.#directories.files(name), scope: "local" };
    return this.#rows.places.get(name) ?? { mountpoint: "", scope: "local" };
  }

  /** Keeps what a plugin said of a volume of its. */
  async notePlace(driver: PluginDriver, name: string, mountpoint: string): Promise<void> {
    const scope = this.#rows.places.get(name)?.scope ?? (await driver.scope());
    this.#rows.places.set(name, { mountpoint, scope });
  }

  /**
   * Makes a volume ready for a user: where it is. The note comes first, so that after a crash what may
   * be mounted is unmounted.
   */
  async mount(row: VolumeRow, user: string): Promise<string> {
    const { name } = row;
    const wasMounted = this.#rows.mounts.has(name, user);
    this.#rows.mounts.add(name, user);
    try {
      const driver = this.driverOf(row);
      if (!driver) return await this.#mountLocal(row);
      const mountpoint = await driver.mount(name, user);
      await this.notePlace(driver, name, mountpoint);
      return mountpoint;
    } catch (error) {
      if (!wasMounted) this.#rows.mounts.remove(name, user);
      const place = this.placeOf(row).mountpoint;
      throw within(`error while mounting volume '${place}'`, error);
    }
  }

  async #mountLocal(row: VolumeRow): Promise<string> {
    const target = this.#directories.files(row.name);
    this.#directories.make(row.name);
    const mount = parseLocalOptions(row.name, row.options);
    if (mount) await mountLocal(mount, target);
    if (!row.isFilling) return target;
    // The copy into it was cut short: it starts again from nothing, unless somebody works in it.
    const isOurs = this.#rows.users.of(row.name).length <= 1;
    const names = isOurs ? await readdir(target) : [];
    for (const name of names) await rm(`${target}/${name}`, { recursive: true, force: true });
    this.#rows.setFilling(row.name, false);
    return target;
  }

  /** The opposite. A plugin that is gone keeps no container from its end. */
  async unmount(row: VolumeRow, user: string): Promise<void> {
    const { name } = row;
    if (!this.#rows.mounts.has(name, user)) return;
    const isLast = this.#rows.mounts.of(name).length === 1;
    try {
      const driver = this.driverOf(row);
      if (driver) await driver.unmount(name, user);
      else if (isLast && Object.keys(row.options).length > 0) {
        unmountLocal(this.#directories.files(name));
      }
    } catch (error) {
      log("warn", "Cannot unmount a volume", { name, user, error });
    }
    this.#rows.mounts.remove(name, user);
  }
}

/** The same failure with what was being done before it. */
export function within(what: string, error: unknown): Failure {
  const { code, message, hint } = toFailure(error);
  return new Failure(code, `${what}: ${message}`, { cause: error, ...(hint ? { hint } : {}) });
}
