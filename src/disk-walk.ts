/**
 * A thread that measures the data root: bytes that the disk gives, as du(1) counts them, by unit. It
 * stays on one file system; a file with several names counts once, where it is met first.
 */
import { lstatSync, readdirSync, type Stats } from "node:fs";
import { unitOf } from "./disk-units.ts";

export interface Measured {
  /** Of a unit, below the data root: `snapshot/layers/1a`. "" is the data root's own folder. */
  readonly path: string;
  readonly bytes: number;
  readonly files: number;
  /** Of the unit's own entry: when somebody last wrote to it, and when it was last changed at all. */
  readonly modifiedMs: number;
  readonly changedMs: number;
}

type Mutable = { -readonly [Name in keyof Measured]: Measured[Name] };

/** All that is below `root`. What goes away meanwhile counts nothing. */
export function measureUnits(root: string): Measured[] {
  const units = new Map<string, Omit<Mutable, "path">>();
  const seen = new Set<string>();
  const { dev } = lstatSync(root);
  const add = (path: string, stat: Stats): void => {
    const unit = unitOf(path);
    const sum = units.get(unit) ?? { bytes: 0, files: 0, modifiedMs: 0, changedMs: 0 };
    sum.files++;
    const identity = stat.nlink > 1 && !stat.isDirectory() ? `${stat.ino}` : "";
    if (identity === "" || !seen.has(identity)) sum.bytes += stat.blocks * 512;
    if (identity !== "") seen.add(identity);
    if (path === unit) {
      sum.modifiedMs = stat.mtimeMs;
      sum.changedMs = stat.ctimeMs;
    }
    units.set(unit, sum);
  };
  const walk = (path: string): void => {
    const full = path === "" ? root : `${root}/${path}`;
    const stat = attempt(() => lstatSync(full));
    if (!stat || stat.dev !== dev) return;
    add(path, stat);
    if (!stat.isDirectory()) return;
    for (const name of attempt(() => readdirSync(full)) ?? []) {
      walk(path === "" ? name : `${path}/${name}`);
    }
  };
  walk("");
  return [...units].map(([path, sum]) => ({ path, ...sum }));
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined; // it went while we looked, or its name is too long to be looked at by path
  }
}

declare const self: Worker;
if (!Bun.isMainThread) {
  self.onmessage = ({ data }: MessageEvent<{ measure?: string }>) => {
    if (data.measure !== undefined) self.postMessage(measureUnits(data.measure));
  };
}
