/** `--build-context NAME=PLACE`: folders travel ahead of the build, other places go by name. */
import { statSync } from "node:fs";
import type { BuildQuery } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { packContext, packPath } from "./build-context.ts";
import type { Client } from "./engine.ts";
import { resolve } from "./paths.ts";

type Named = Pick<BuildQuery, "contexts">;

/** Sends the folders and gives the query. @throws Failure "invalid" | "not_found" */
export async function sendContexts(engine: Client, flags: readonly string[]): Promise<Named> {
  const places = flags.map(split);
  // All of them are looked at before anything is sent.
  const folders = new Map(places.flatMap(([name, place]) => folderOf(name, place)));
  const contexts: Record<string, string> = {};
  for (const [name, place] of places) {
    const folder = folders.get(name);
    if (!folder) contexts[name] = place;
    else if (folder.version === undefined) {
      const { Id } = await engine.images.keepContext(packContext(folder.path, { dockerfile: "" }));
      contexts[name] = `upload:${Id}`;
    } else {
      const tar = packPath(folder.path, { name: "", keepsOwners: false });
      const { Id } = await engine.images.keepContext(tar);
      contexts[name] = `oci-layout://${Id}${folder.version}`;
    }
  }
  return flags.length === 0 ? {} : { contexts };
}

function split(flag: string): [name: string, place: string] {
  const at = flag.indexOf("=");
  if (at > 0 && at < flag.length - 1) return [flag.slice(0, at), flag.slice(at + 1)];
  throw new Failure("invalid", `invalid context value: ${flag}, expected key=value`);
}

interface Folder {
  readonly path: string;
  /** Of an OCI layout: "", `:tag` or `@sha256:…`. */
  readonly version: string | undefined;
}

function folderOf(name: string, place: string): [string, Folder][] {
  const [, layout = "", version = ""] =
    /^oci-layout:\/\/(.*?)((?:@sha256:[0-9a-f]{64}|:[\w][\w.-]{0,127})?)$/.exec(place) ?? [];
  if (layout !== "") return [[name, { path: checked(layout), version }]];
  if (/^[\w-]+:\/\//.test(place) || /^(target:|[\w.-]+@[\w.-]+:)/.test(place)) return [];
  return [[name, { path: checked(place), version: undefined }]];
}

function checked(place: string): string {
  const path = resolve(place);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  throw new Failure("not_found", `failed to find the build context "${place}": no such folder`);
}
