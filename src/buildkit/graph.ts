/**
 * Of BuildKit's low-level graph the one form that clients send beside Dockerfiles: a single source, a
 * file or a repository elsewhere.
 */
import { Failure } from "../base/mod.ts";
import { graph, operation, operationSource } from "./messages.ts";

const operationsMax = 16;

/** The address of a graph's only source. @throws Failure "unsupported" — it is any other graph */
export function sourceOf(definition: Uint8Array): string {
  const { operations } = graph.decode(definition);
  const found = operations.slice(0, operationsMax).map((each) => operation.decode(each));
  const [source, ...others] = found.filter((each) => each.source.length > 0);
  const isMore =
    others.length > 0 ||
    operations.length > operationsMax ||
    found.some((each) => each.works.length + each.files.length + each.builds.length > 0);
  if (!source || isMore) {
    throw new Failure("unsupported", "Cannot build a low-level graph (LLB)", {
      hint: "Lading builds Dockerfiles, by a language that is built in",
    });
  }
  const { identifier, attributes } = operationSource.decode(source.source);
  return addressOf(identifier, attributes);
}

function addressOf(identifier: string, attributes: ReadonlyMap<string, string>): string {
  if (/^https?:\/\//.test(identifier)) return identifier;
  const [, place, reference = ""] = /^git:\/\/([^#]+)(#.*)?$/.exec(identifier) ?? [];
  if (place !== undefined) return (attributes.get("git.fullurl") ?? `https://${place}`) + reference;
  throw new Failure("unsupported", `Cannot fetch "${identifier.slice(0, 200)}"`);
}
