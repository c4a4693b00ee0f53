/** What npm and pip leave beside the packages that they install. */
import type { Package } from "./packages.ts";
import { purlOf } from "./packages-url.ts";

/** https://docs.npmjs.com/cli/v11/configuring-npm/package-json */
export function* readPackageJson(text: string, source: string): Generator<Package> {
  const { name, version, license } = objectIn(text);
  if (typeof name !== "string" || typeof version !== "string" || version === "") return;
  yield npmPackage({ name, version, license }, source);
}

/** https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json, from its second version on. */
export function* readPackageLock(text: string, source: string): Generator<Package> {
  const { packages } = objectIn(text);
  if (typeof packages !== "object" || packages === null) return;
  for (const [path, value] of Object.entries(packages as Record<string, unknown>)) {
    const at = path.lastIndexOf("node_modules/");
    if (at < 0 || typeof value !== "object" || value === null) continue;
    const { name, version, license } = value as Record<string, unknown>;
    if (typeof version !== "string" || version === "") continue;
    const real = typeof name === "string" ? name : path.slice(at + "node_modules/".length);
    yield npmPackage({ name: real, version, license }, source);
  }
}

function npmPackage(
  { name, version, license }: { name: string; version: string; license: unknown },
  source: string,
): Package {
  const [scope, bare] = name.startsWith("@") ? name.split("/", 2) : ["", name];
  const purl = purlOf({ type: "npm", namespace: scope ?? "", name: bare ?? name, version });
  return { name, version, purl, license: typeof license === "string" ? license : "", source };
}

function objectIn(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // no JSON, no package
  }
}

/** https://packaging.python.org/en/latest/specifications/core-metadata/ */
export function* readDistInfo(text: string, source: string): Generator<Package> {
  const head = text.split(/\n\s*\n/, 1)[0] ?? "";
  const field = (name: string) =>
    new RegExp(`^${name}: *(.*)$`, "im").exec(head)?.[1]?.trim() ?? "";
  const [name, version] = [field("Name"), field("Version")];
  if (name === "" || version === "") return;
  const normal = name.toLowerCase().replace(/[-_.]+/g, "-");
  const purl = purlOf({ type: "pypi", namespace: "", name: normal, version });
  const license = field("License-Expression") || field("License");
  yield { name, version, purl, license: license === "UNKNOWN" ? "" : license, source };
}
