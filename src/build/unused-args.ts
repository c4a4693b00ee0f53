import { hostPlatform } from "../oci/mod.ts";
import { proxyArgs } from "./configure.ts";
import { platformArgs } from "./platform.ts";
import { nearest } from "./source.ts";
import type { Plan } from "./stages.ts";

/** Tells which `--build-arg` no ARG asked for; "" when all were. */
export function unusedArgsText(
  { stages, globals }: Plan,
  buildArgs: Readonly<Record<string, string | null>>,
): string {
  const all = [...globals, ...stages.flatMap(({ instructions }) => instructions)];
  const declared = all.flatMap((one) =>
    one.kind === "arg" ? one.args.map(({ name }) => name) : [],
  );
  const known = new Set([
    ...declared,
    ...proxyArgs,
    ...Object.keys(platformArgs(hostPlatform())),
    "SOURCE_DATE_EPOCH",
  ]);
  // Those of BuildKit's name are for the builder.
  const isOurs = (name: string) => known.has(name) || name.startsWith("BUILDKIT_");
  const unused = Object.keys(buildArgs).filter((name) => !isOurs(name));
  if (unused.length === 0) return "";
  const near = unused.length === 1 ? nearest(unused[0]!, declared) : undefined;
  const hint = near ? ` (did you mean ${near}?)` : "";
  return `One or more build-args [${unused.join(" ")}] were not consumed${hint}`;
}
