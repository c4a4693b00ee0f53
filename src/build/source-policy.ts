/**
 * Rules of the client on what a Dockerfile may take from elsewhere: ALLOW, DENY, or CONVERT into another
 * source, by BuildKit's JSON.
 * Reference: https://github.com/moby/buildkit/blob/master/docs/build-repro.md
 */
import { Failure } from "../base/mod.ts";
import { familiarReference, fullReference, parseReference, withDefaultTag } from "../oci/mod.ts";

export interface SourceRule {
  readonly action: "ALLOW" | "DENY" | "CONVERT";
  readonly pattern: RegExp;
  /** What CONVERT puts in its place; `$1` is what the first `*` or group matched. */
  readonly identifier: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** `docker-image://docker.io/library/alpine:latest`, an address, or `git://host/path#ref`. */
export interface PolicySource {
  readonly identifier: string;
  readonly attributes: Readonly<Record<string, string>>;
}

const rulesMax = 1_000;
const convertsMax = 20;
const patternCharsMax = 1_000;
/** The time of a match grows with the name's length to the power of these. */
const starsMax = 2;
const identifierCharsMax = 4_096;
const actions = ["ALLOW", "DENY", "CONVERT"] as const;

/** Reads `{"rules":[…]}`. @throws Failure "invalid" */
export function parseSourcePolicy(text: string): SourceRule[] {
  const bad = (why: string) => new Failure("invalid", `Cannot use the source policy: ${why}`);
  let value: { rules?: unknown };
  try {
    value = JSON.parse(text);
  } catch {
    throw bad("it is no JSON");
  }
  const rules = value?.rules ?? [];
  if (!Array.isArray(rules) || rules.length > rulesMax)
    throw bad(`rules are a list of ${rulesMax}`);
  return rules.map((rule, index) => {
    const { action, selector = {}, updates = {} } = rule ?? {};
    const found = actions.find((each, number) => each === action || number === action);
    if (!found) throw bad(`rule ${index} has the action ${JSON.stringify(action)}`);
    const { identifier } = selector;
    if (typeof identifier !== "string" || identifier.length > patternCharsMax) {
      throw bad(`rule ${index} selects nothing`);
    }
    const pattern = patternOf(identifier, selector.matchType ?? selector.match_type);
    const attributes = Object.entries(updates.attrs ?? {}).map(([key, each]) => [
      key,
      String(each),
    ]);
    const converted = String(updates.identifier ?? "");
    return {
      action: found,
      pattern,
      identifier: converted,
      attributes: Object.fromEntries(attributes),
    };
  });
}

/** EXACT; else `*` stands for anything. @throws Failure "unsupported" */
function patternOf(identifier: string, matchType: unknown): RegExp {
  const quoted = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  if (matchType === "EXACT" || matchType === 1) return new RegExp(`^${quoted(identifier)}$`);
  if (matchType === "REGEX" || matchType === 2) {
    throw new Failure("unsupported", "Cannot use the source policy: no regular expressions here", {
      hint: "Write a pattern with *: a stranger's expression could stop the engine",
    });
  }
  const parts = identifier.split(/\*+/);
  if (parts.length > starsMax + 1) {
    const why = `more than ${starsMax} * in ${identifier}`;
    throw new Failure("invalid", `Cannot use the source policy: ${why}`);
  }
  return new RegExp(`^${parts.map(quoted).join("(.*?)")}$`, "s");
}

/**
 * What is to be taken instead of a source; itself when no rule converts it.
 * @throws Failure "denied" — the last rule that is about it denies it
 */
export function applyPolicy(rules: readonly SourceRule[], source: PolicySource): PolicySource {
  if (source.identifier.length > identifierCharsMax) {
    const name = source.identifier.slice(0, 100);
    throw new Failure("denied", `source "${name}…" denied: too long for the policy`);
  }
  let current = source;
  for (let count = 0; count < convertsMax; count++) {
    const next = evaluate(rules, current);
    if (next === current) return current;
    current = next;
  }
  throw new Failure("invalid", `The source policy converts ${source.identifier} for ever`);
}

function evaluate(rules: readonly SourceRule[], source: PolicySource): PolicySource {
  let isDenied = false;
  for (const { action, pattern, identifier, attributes } of rules) {
    const match = pattern.exec(source.identifier);
    if (!match) continue;
    if (action !== "CONVERT") {
      isDenied = action === "DENY";
      continue;
    }
    const converted = identifier.replace(/\$(?:\{(\d)\}|(\d))/g, (_, a, b) => match[a ?? b] ?? "");
    const next = {
      identifier: converted || source.identifier,
      attributes: { ...source.attributes, ...attributes },
    };
    if (JSON.stringify(next) !== JSON.stringify(source)) return next;
  }
  if (!isDenied) return source;
  throw new Failure("denied", `source "${source.identifier}" denied by policy`, {
    hint: "The source policy of the build denies it",
  });
}

const imagePrefix = "docker-image://";

/** The name of the image to take instead of one. @throws Failure "denied" | "invalid" */
export function policyImage(rules: readonly SourceRule[] | undefined, name: string): string {
  if (!rules || rules.length === 0) return name;
  const identifier = `${imagePrefix}${fullReference(withDefaultTag(parseReference(name)))}`;
  const found = applyPolicy(rules, { identifier, attributes: {} });
  if (found.identifier === identifier) return name;
  if (found.identifier.startsWith(imagePrefix)) {
    return familiarReference(parseReference(found.identifier.slice(imagePrefix.length)));
  }
  throw new Failure("invalid", `The source policy makes ${found.identifier} of an image`);
}
