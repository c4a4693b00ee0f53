/** `--cache-to` and `--cache-from`. */
import { lstatSync } from "node:fs";
import type { BuildOutput } from "../api/schema.ts";
import { Failure } from "../base/mod.ts";
import { packPath } from "./build-context.ts";
import { unpackInto } from "./build-outputs.ts";
import type { Client } from "./engine.ts";
import { csvFields } from "./mount-flags.ts";
import { complain } from "./output.ts";
import { resolve } from "./paths.ts";

interface Caches {
  readonly query: {
    readonly cachefrom?: readonly BuildOutput[];
    readonly cacheto?: readonly BuildOutput[];
  };
  /** Puts the caches that wait in the engine where the flags said. */
  receive(waiting: readonly { readonly Cache: number; readonly Handle: string }[]): Promise<void>;
}

/** Reads the flags, and sends the folders that caches are in. @throws Failure "invalid" | "not_found" */
export async function openCaches(
  engine: Client,
  flags: { readonly "cache-from": readonly string[]; readonly "cache-to": readonly string[] },
): Promise<Caches> {
  const to = flags["cache-to"].map(parseCacheFlag);
  for (const { Type, Attrs } of to) {
    if (Type === "local" && !Attrs["dest"])
      throw new Failure("invalid", "type=local needs dest=DIR");
  }
  const from: BuildOutput[] = [];
  for (const place of flags["cache-from"].map(parseCacheFlag)) {
    const found = place.Type === "local" ? await sent(engine, place) : place;
    if (found) from.push(found);
  }
  const query = {
    ...(from.length > 0 ? { cachefrom: from } : {}),
    ...(to.length > 0 ? { cacheto: to } : {}),
  };
  return {
    query,
    receive: async (waiting) => {
      for (const { Cache, Handle } of waiting) {
        const dest = to[Cache]?.Attrs["dest"];
        if (dest) await unpackInto(dest, await engine.images.buildResult(Handle));
      }
    },
  };
}

/** `type=registry,ref=NAME,…`, or the name alone. */
export function parseCacheFlag(text: string): BuildOutput {
  const fields = csvFields(text.trim());
  if (fields.length === 1 && !fields[0]!.includes("=")) {
    return { Type: "registry", Attrs: { ref: fields[0]! } };
  }
  const { type = "registry", ...Attrs } = Object.fromEntries(
    fields.map((field) => {
      const at = field.indexOf("=");
      if (at > 0) return [field.slice(0, at).trim(), field.slice(at + 1)] as const;
      throw new Failure("invalid", `invalid value ${field}: expected key=value`);
    }),
  );
  return { Type: type, Attrs };
}

async function sent(
  engine: Client,
  { Type, Attrs }: BuildOutput,
): Promise<BuildOutput | undefined> {
  const { src = "", ...rest } = Attrs;
  const folder = resolve(src);
  if (src === "" || !lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    // The first build of a pipeline has no cache yet: that is no mistake.
    complain(`There is no cache in ${src || "src="}: building without it`);
    return undefined;
  }
  const { Id } = await engine.images.keepContext(
    packPath(folder, { name: "", keepsOwners: false }),
  );
  return { Type, Attrs: { ...rest, src: Id } };
}
