import { decodeName, Failure } from "../base/mod.ts";
import type { Segment } from "./header.ts";
import { parsePaxTime } from "./pax.ts";
import { parseCount, parseSegments } from "./sparse.ts";

const xattrPrefix = "SCHILY.xattr.";
const xattrsMax = 1000;

/** What the extended headers before an entry say about it: PAX records, GNU long names. */
export class PaxFields {
  isEmpty = true;
  path: string | undefined;
  linkPath: string | undefined;
  size: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  userName: string | undefined;
  groupName: string | undefined;
  mtime: { seconds: number; nanoseconds: number } | undefined;
  xattrs: Map<string, Uint8Array> | undefined;
  realSize: number | undefined;
  #major = "";
  #map: string[] | undefined;
  #sparseName: string | undefined;

  /** Which form of GNU's sparse files the records announce; undefined for other files. */
  get sparseForm(): "newMap" | "inHeader" | undefined {
    if (this.#major === "1") return "newMap";
    return this.#map ? "inHeader" : undefined;
  }

  /** The map of the forms that have it in the header. */
  get segments(): Segment[] {
    return parseSegments(this.#map ?? []);
  }

  /** Takes a record; a later one replaces an earlier one, an empty value removes it. */
  set(key: string, value: Buffer): void {
    this.isEmpty = false;
    if (key.startsWith(xattrPrefix)) this.#setXattr(key.slice(xattrPrefix.length), value);
    else if (key.startsWith("GNU.sparse.")) {
      this.#setSparse(key.slice(11), value.toString("latin1"));
    } else this.#setField(key, value.length > 0 ? decodeName(value) : undefined);
  }

  #setField(key: string, text: string | undefined): void {
    if (key === "path") this.path = this.#sparseName ?? text;
    else if (key === "linkpath") this.linkPath = text;
    else if (key === "uname") this.userName = text;
    else if (key === "gname") this.groupName = text;
    else if (key === "mtime") this.mtime = text === undefined ? undefined : parsePaxTime(text);
    else if (key === "size") this.size = text === undefined ? undefined : parseWhole(text);
    else if (key === "uid") this.uid = text === undefined ? undefined : parseWhole(text);
    else if (key === "gid") this.gid = text === undefined ? undefined : parseWhole(text);
  }

  #setXattr(name: string, value: Buffer): void {
    this.xattrs ??= new Map();
    if (value.length === 0) this.xattrs.delete(name);
    else if (this.xattrs.size < xattrsMax) this.xattrs.set(name, value);
    else
      throw new Failure("exhausted", `Cannot read the archive: over ${xattrsMax} xattrs on a file`);
  }

  #setSparse(key: string, value: string): void {
    if (key === "major") this.#major = value;
    else if (key === "name")
      this.path = this.#sparseName = decodeName(Buffer.from(value, "latin1"));
    else if (key === "size" || key === "realsize") this.realSize = parseCount(value);
    else if (key === "map") this.#map = value === "" ? [] : value.split(",");
    else if (key === "offset" || key === "numbytes") (this.#map ??= []).push(value);
    else if (key === "numblocks") this.#map ??= [];
  }
}

/** Whole numbers only; GNU tar may write a fraction of a size as nobody else does. @throws "corrupt" */
function parseWhole(text: string): number {
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new Failure(
    "corrupt",
    `Cannot read the archive: "${text.slice(0, 40)}" is no whole number`,
  );
}
