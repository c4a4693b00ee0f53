/**
 * Unpacks a hostile tar into a folder of the user's. No entry is written through a symbolic link that
 * the archive brought: each parent must be a folder, seen as such, below the root.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { cleanPath, type TarHeader } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";

const newFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

export class Unpacker {
  readonly #root: string;
  readonly #keepsOwners: boolean;
  /** Folders that were seen to be folders; an entry that replaces one leaves the set. */
  readonly #folders = new Set<string>();
  readonly #dated: [path: string, header: TarHeader][] = [];
  sizeBytes = 0;

  constructor(root: string, { keepsOwners }: { keepsOwners: boolean }) {
    this.#root = root;
    this.#keepsOwners = keepsOwners;
  }

  /**
   * Writes one entry; what was there is replaced, but a folder stays a folder.
   * @throws Failure "invalid" — a path or link out of the root, or through a symbolic link
   */
  async add(
    header: TarHeader,
    body: AsyncIterable<Uint8Array>,
    rename: (link: string) => string,
  ): Promise<void> {
    const path = cleanPath(header.path);
    const place = path === "" ? this.#root : `${this.#root}/${path}`;
    if (header.type === "directory") return this.#folder(path, place, header);
    if (path === "") throw new Failure("invalid", "Cannot unpack: its root is no folder");
    this.#requireParents(path);
    this.#clear(place, path);
    if (header.type === "symlink") {
      symlinkSync(header.linkPath, place);
      if (this.#keepsOwners) lchownSync(place, header.uid, header.gid);
      lutimesSync(place, header.mtimeSeconds, header.mtimeSeconds);
    } else if (header.type === "link") {
      const target = cleanPath(rename(header.linkPath));
      this.#requireParents(target);
      linkSync(`${this.#root}/${target}`, place);
    } else if (header.type === "file") await this.#file(place, header, body);
    // Devices and pipes stay in the container, as with Docker's client without root.
  }

  /** Sets the times of folders, which every write inside had changed. */
  finish(): void {
    for (const [place, header] of this.#dated.reverse()) this.#finishFolder(place, header);
  }

  #finishFolder(place: string, header: TarHeader): void {
    if (!lstatSync(place).isDirectory()) return;
    chmodSync(place, header.mode);
    utimesSync(place, header.mtimeSeconds, header.mtimeSeconds);
  }

  #folder(path: string, place: string, header: TarHeader): void {
    if (path !== "") {
      this.#requireParents(path);
      const there = lstatSync(place, { throwIfNoEntry: false });
      if (there && !there.isDirectory()) {
        throw new Failure("invalid", `cannot overwrite non-directory "${place}" with directory`);
      }
      if (!there) {
        mkdirSync(place, { mode: 0o700 });
        this.#dated.push([place, header]);
        if (this.#keepsOwners) chownSync(place, header.uid, header.gid);
      }
    }
    this.#folders.add(path);
  }

  async #file(place: string, header: TarHeader, body: AsyncIterable<Uint8Array>): Promise<void> {
    const file = openSync(place, newFile, 0o600);
    try {
      for await (const bytes of body) {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
        this.sizeBytes += bytes.length;
      }
    } finally {
      closeSync(file);
    }
    if (this.#keepsOwners) chownSync(place, header.uid, header.gid);
    chmodSync(place, header.mode & 0o777);
    utimesSync(place, header.mtimeSeconds, header.mtimeSeconds);
  }

  #clear(place: string, path: string): void {
    const there = lstatSync(place, { throwIfNoEntry: false });
    if (!there) return;
    if (there.isDirectory()) {
      throw new Failure("invalid", `cannot overwrite directory "${place}" with non-directory`);
    }
    rmSync(place);
    this.#folders.delete(path);
  }

  #requireParents(path: string): void {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      const parent = path.slice(0, at);
      if (this.#folders.has(parent)) continue;
      const there = lstatSync(`${this.#root}/${parent}`, { throwIfNoEntry: false });
      if (!there) mkdirSync(`${this.#root}/${parent}`);
      else if (!there.isDirectory()) {
        throw new Failure("invalid", `Cannot unpack "${path}": "${parent}" is no folder`);
      }
      this.#folders.add(parent);
    }
  }
}
