/** Builds that go on, by the references that their clients gave them. */
import { Failure } from "../base/mod.ts";
import { parseSourcePolicy, type SourceRule } from "../build/mod.ts";
import type { Place } from "./caches.ts";
import type { fetchAddress } from "./fetch.ts";
import * as messages from "./messages.ts";
import { Progress } from "./progress.ts";
import type { Session } from "./session.ts";
import type { Exporter, Solved } from "./solve.ts";

const buildsMax = 64;
/** `Status`, `Solve` and the gateway's calls come side by side, in any order. */
const arrivalMsMax = 10_000;

/** A build from its `Control.Solve` on. */
export interface Build {
  readonly session: Session;
  readonly progress: Progress;
  readonly exporters: readonly Exporter[];
  readonly caches: readonly Place[];
  readonly sourcePolicy: readonly SourceRule[];
  readonly allow: readonly string[];
  readonly signal: AbortSignal;
  produced: Solved | undefined;
  readonly returned: PromiseWithResolvers<void>;
  /** What the client's sources came to, by what it knows them by. */
  readonly fetched: Map<string, Awaited<ReturnType<typeof fetchAddress>>>;
}

/** What a build is opened with. */
export interface Opening extends Pick<Build, "exporters" | "caches" | "sourcePolicy" | "allow"> {
  /** The client's name for it. */
  readonly ref: string;
  readonly session: Session;
  readonly signal: AbortSignal;
}

/** What `Control.Solve` says of a build. @throws Failure "invalid" | "unsupported" */
export function openingOf(
  asked: ReturnType<typeof messages.solveRequest.decode>,
): Omit<Opening, "session" | "signal"> {
  return {
    ref: asked.ref,
    exporters: exportersOf(asked),
    caches: cachesOf(asked.cache),
    sourcePolicy: policyOf(asked.sourcePolicy),
    allow: asked.entitlements,
  };
}

export class Builds {
  readonly #builds = new Map<string, Build>();
  readonly #arrivals = new Set<() => void>();

  /** @throws Failure "invalid" | "exhausted" */
  open({ ref, ...opening }: Opening): Build {
    if (!/^[\w.-]{1,128}$/.test(ref) || this.#builds.has(ref)) {
      throw new Failure("invalid", "Cannot build: its reference is none, or in use");
    }
    if (this.#builds.size >= buildsMax) {
      throw new Failure("exhausted", `Cannot build: ${buildsMax} builds are going on`);
    }
    const { signal } = opening;
    const build: Build = {
      ...opening,
      progress: new Progress(ref),
      produced: undefined,
      returned: Promise.withResolvers(),
      fetched: new Map(),
    };
    const cancelled = () => build.returned.reject(new Failure("unavailable", "context canceled"));
    if (signal.aborted) cancelled();
    signal.addEventListener("abort", cancelled);
    build.returned.promise.catch(() => {}); // the control tells it
    this.#builds.set(ref, build);
    for (const arrived of [...this.#arrivals]) arrived();
    return build;
  }

  /** What it fetched for its client goes. Readers of its status keep what they read; others come too late. */
  async close(ref: string): Promise<void> {
    const build = this.#builds.get(ref);
    this.#builds.delete(ref);
    for (const taken of build?.fetched.values() ?? []) await taken[Symbol.asyncDispose]();
  }

  get(ref: string): Build | undefined {
    return this.#builds.get(ref);
  }

  /** The build of a call: `Status` names it, the gateway's calls have it in their metadata. */
  async find(ref: string): Promise<Build> {
    const deadline = Date.now() + arrivalMsMax;
    for (;;) {
      const build = this.#builds.get(ref);
      if (build) return build;
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Failure("not_found", `no such build: ${ref.slice(0, 128)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(arrived, leftMs);
        const arrivals = this.#arrivals;
        function arrived(): void {
          clearTimeout(timer);
          arrivals.delete(arrived);
          resolve();
        }
        arrivals.add(arrived);
      });
    }
  }
}

/** Older clients name one exporter, newer ones a list of them. */
function exportersOf(asked: ReturnType<typeof messages.solveRequest.decode>): readonly Exporter[] {
  const listed = asked.exporters.map((bytes) => messages.exporter.decode(bytes));
  const old = { type: asked.exporter, attributes: asked.exporterAttributes };
  return listed.length > 0 ? listed : asked.exporter === "" ? [] : [old];
}

function cachesOf(options: Uint8Array): Place[] {
  const { exports } = messages.cacheOptions.decode(options);
  return exports.map((bytes) => messages.cachePlace.decode(bytes));
}

/** The client's source policy, by the numbers that stand for its words. */
function policyOf(bytes: Uint8Array): SourceRule[] {
  const rules = messages.policy.decode(bytes).rules.map((rule) => {
    const { action, selector, updates } = messages.policyRule.decode(rule);
    const { identifier, matchType, constraints } = messages.policySelector.decode(selector);
    if (constraints.length > 0) {
      throw new Failure("unsupported", "Cannot use the source policy: it has constraints");
    }
    const { identifier: converted, attributes } = messages.policyUpdates.decode(updates);
    const attrs = Object.fromEntries(attributes);
    return {
      action,
      selector: { identifier, matchType },
      updates: { identifier: converted, attrs },
    };
  });
  return parseSourcePolicy(JSON.stringify({ rules }));
}
