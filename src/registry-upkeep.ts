/** `lading registry gc` and `fsck`: through the registry that serves, or on its data root. */
import { existsSync } from "node:fs";
import { Failure, isFailure, toFailure } from "./base/mod.ts";
import {
  adminPrefix,
  answerAdmin,
  type CheckReport,
  type CollectReport,
  ownerAccess,
  type Retired,
} from "./registry/mod.ts";
import { parseUpkeepOptions, type UpkeepOptions, upkeepUsage } from "./registry-options.ts";
import { controlPath, openRegistryRoot } from "./registry-root.ts";

type GcReport = CollectReport & { readonly retired: readonly Retired[] };

/** Runs one of the two and returns the exit code: 1 when it failed, or when fsck found damage. */
export async function runUpkeep(work: "gc" | "fsck", argv: readonly string[]): Promise<number> {
  try {
    const options = parseUpkeepOptions(argv);
    if (options === "help") {
      process.stdout.write(upkeepUsage);
      return 0;
    }
    const report = await ask(work, options);
    const lines = options.isJson
      ? [JSON.stringify(report, null, 2)]
      : work === "gc"
        ? gcLines(report as GcReport)
        : checkLines(report as CheckReport);
    process.stdout.write(`${lines.join("\n")}\n`);
    if (work === "gc") return 0;
    const { damaged, incomplete } = report as CheckReport;
    return damaged.length + incomplete.length > 0 ? 1 : 0;
  } catch (error) {
    const { message, hint } = toFailure(error);
    process.stderr.write(`lading: ${message}${hint ? `\n${hint}` : ""}\n`);
    return 1;
  }
}

async function ask(work: "gc" | "fsck", options: UpkeepOptions): Promise<unknown> {
  const path = `${adminPrefix}${work}`;
  if (!existsSync(`${options.dataRoot}/registry`)) {
    throw new Failure("not_found", `Cannot find a registry in "${options.dataRoot}"`, {
      hint: "Name the folder that it serves with --data-root",
    });
  }
  const url = `http://localhost${path}?${options.query}`;
  try {
    await using root = await openRegistryRoot(options.dataRoot, options);
    const request = new Request(url, { method: "POST" });
    const asked = { request, query: options.query, peer: "local" };
    return await (await answerAdmin({ ...root.parts, access: ownerAccess }, path, asked)).json();
  } catch (error) {
    if (!isFailure(error, "conflict")) throw error; // else it serves: it does the work itself
  }
  const unix = controlPath(options.dataRoot);
  const answer = await fetch(url, {
    method: "POST",
    unix,
    signal: AbortSignal.timeout(86_400_000),
  });
  const body = (await answer.json()) as { errors?: { message: string }[] };
  if (answer.ok) return body;
  throw new Failure("invalid", body.errors?.[0]?.message ?? `The registry says ${answer.status}`);
}

function gcLines(report: GcReport): string[] {
  const { details, retired, isDryRun, removed, kept } = report;
  const verb = isDryRun ? "would go" : "gone";
  const each = [
    ...retired.map(
      ({ repository, tag, digest, why }) =>
        `${tag === undefined ? `manifest ${repository}@${digest}` : `tag ${repository}:${tag}`}: ${why}`,
    ),
    ...details.map(({ what, repository, id, sizeBytes, why }) => {
      const name = repository === undefined || repository === id ? id : `${repository}@${id}`;
      return `${what} ${name} (${sizeBytes} bytes): ${why}`;
    }),
    ...(report.isCut && details.length > 0 ? ["… and more"] : []),
  ];
  const shared = removed.sharedBytes > 0 ? ` (${removed.sharedBytes} of them the engine has)` : "";
  const counts = [
    `${many(removed.blobs, "blob")} of ${many(removed.sizeBytes, "byte")}${shared}`,
    many(report.manifests, "manifest"),
    `${many(report.links, "link")} of repositories to blobs`,
    many(report.uploads, "upload"),
    `${retired.length} by retention`,
  ];
  return [
    ...each,
    `${verb}: ${counts.join(", ")}`,
    `kept: ${many(kept.blobs, "blob")} of ${many(kept.sizeBytes, "byte")}`,
  ];
}

const many = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;

function checkLines({ checked, damaged, incomplete, isRepaired }: CheckReport): string[] {
  return [
    ...damaged.map(
      ({ digest, what, repositories }) =>
        `${what} ${digest} of ${repositories.join(", ")}${isRepaired ? ": forgotten, push it again" : ""}`,
    ),
    ...incomplete.map(({ repository, digest, tags }) => {
      const names = tags.length > 0 ? ` (${tags.join(", ")})` : "";
      return `incomplete ${repository}@${digest}${names}: a part is gone, push it again`;
    }),
    `checked: ${many(checked.blobs, "blob")} of ${many(checked.sizeBytes, "byte")}; damaged: ${damaged.length}`,
  ];
}
