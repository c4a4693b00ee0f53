import type { Access, Need } from "./access.ts";
import type { RetentionRule } from "./config.ts";
import { isRepositoryName, isTag, parseWireDigest } from "./protocol.ts";
import { Refusal, refusing } from "./refusal.ts";
import { json } from "./server-answer.ts";
import { digestCodes } from "./server-blobs.ts";
import type { Call, Tell } from "./server-call.ts";
import { checkTag } from "./server-manifests.ts";
import type { Policy } from "./server-policy.ts";
import { check } from "./store-check.ts";
import { collect } from "./store-collect.ts";
import { undoTag } from "./store-history.ts";
import type { RegistryStore } from "./store-open.ts";
import { type Retired, retire } from "./store-retention.ts";

/** Below this is what the distribution protocol has no word for. */
export const adminPrefix = "/lading/registry/";

export interface AdminParts {
  readonly store: RegistryStore;
  readonly access: Access;
  readonly policy: Policy;
  readonly tell: Tell;
  readonly retention?: readonly RetentionRule[];
}

type Answer = (parts: AdminParts, call: Call) => Promise<unknown> | unknown;
type Work = {
  readonly method: string;
  needs(query: URLSearchParams): Need[];
  readonly answer: Answer;
};

const asAdmin = () => [{ repository: "", action: "admin" } as const];
const movesMax = 1_000;

const works: Readonly<Record<string, Work>> = {
  log: {
    method: "GET",
    needs: (query) => [{ repository: nameIn(query), action: "pull" }],
    answer({ store }, { query }) {
      const [repository, tag] = [store.names.need(nameIn(query)), tagIn(query)];
      return {
        repository: nameIn(query),
        tag,
        moves: store.names.moves(repository, tag, movesMax),
      };
    },
  },
  undo: {
    method: "POST",
    needs: (query) => [
      { repository: nameIn(query), action: "push" },
      { repository: nameIn(query), action: "delete" },
    ],
    answer: undo,
  },
  gc: {
    method: "POST",
    needs: asAdmin,
    answer: async (parts, { query }) => {
      const dryRun = flagIn(query, "dry-run");
      const retired = await retireBy(parts, dryRun);
      const report = await collect(parts.store, {
        dryRun,
        ...durationIn(query, "grace", "graceMs"),
        ...durationIn(query, "history", "historyMs"),
      });
      const details = flagIn(query, "explain") ? report.details : [];
      return { ...report, retired, details };
    },
  },
  fsck: {
    method: "POST",
    needs: asAdmin,
    answer: ({ store }, { query }) =>
      check(store, { isQuick: flagIn(query, "quick"), repairs: flagIn(query, "repair") }),
  },
};

/** Answers a request below `/lading/registry/`. @throws Refusal */
export async function answerAdmin(
  parts: AdminParts,
  path: string,
  asked: Omit<Call, "who">,
): Promise<Response> {
  const name = path.slice(adminPrefix.length);
  const work = Object.hasOwn(works, name) ? works[name] : undefined;
  if (!work) throw new Refusal("UNSUPPORTED", "Cannot find this path", { status: 404 });
  if (asked.request.method !== work.method) {
    throw new Refusal("UNSUPPORTED", `Cannot ${asked.request.method} here`, {
      headers: { Allow: work.method },
    });
  }
  const who = await parts.access.admit(asked, work.needs(asked.query));
  const needs = work.needs(asked.query);
  if (!needs.every(({ repository, action }) => who.may(repository, action))) {
    throw new Refusal("DENIED", "Cannot do this: it takes the right to administer the registry", {
      hint: "On the registry's own host, lading registry gc and fsck need none",
    });
  }
  return json(await work.answer(parts, { ...asked, who }), { "Cache-Control": "no-store" });
}

/** Applies the configuration's rules; immutable tags stay. */
export async function retireBy(
  { store, policy, retention = [] }: Pick<AdminParts, "store" | "policy" | "retention">,
  dryRun: boolean,
): Promise<Retired[]> {
  const mayMove = (name: string, tag: string) => !policy.isImmutable(name, tag);
  return await retire(store, retention, { dryRun, mayMove });
}

async function undo({ store, policy, tell }: AdminParts, { query, who, peer }: Call) {
  const [name, tag] = [nameIn(query), tagIn(query)];
  const repository = store.names.need(name);
  const text = query.get("to");
  const to = text === null ? undefined : await refusing(digestCodes, () => parseWireDigest(text));
  checkTag({ store, policy }, { name, repository, tag, to });
  const digest = undoTag(store, { repository, tag, ...(to ? { to } : {}), who: who.name });
  const event = { kind: "tag", repository: name, tag, who: who.name, peer } as const;
  tell({ ...event, action: "undo", ...(digest === null ? {} : { digest }) });
  return { repository: name, tag, digest };
}

function nameIn(query: URLSearchParams): string {
  const name = query.get("repository") ?? "";
  if (isRepositoryName(name)) return name;
  throw new Refusal("NAME_INVALID", `Cannot use "${name.slice(0, 300)}" as a repository's name`);
}

function tagIn(query: URLSearchParams): string {
  const tag = query.get("tag") ?? "";
  if (isTag(tag)) return tag;
  throw new Refusal("TAG_INVALID", `Cannot use "${tag.slice(0, 140)}" as a tag`);
}

function flagIn(query: URLSearchParams, name: string): boolean {
  return ["", "1", "true"].includes(query.get(name) ?? "no");
}

const unitsMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `30m`, `12h`, `7d`, `0s`. */
function durationIn<Name extends string>(query: URLSearchParams, name: string, as: Name) {
  const text = query.get(name);
  if (text === null) return {};
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (!match) {
    throw new Refusal(
      "UNSUPPORTED",
      `Cannot use "${text.slice(0, 20)}" as a time: as 30m, 12h, 7d`,
      {
        status: 400,
      },
    );
  }
  return { [as]: Number(match[1]) * unitsMs[match[2] as keyof typeof unitsMs] };
}
