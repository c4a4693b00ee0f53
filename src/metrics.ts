/**
 * Prometheus metrics, with Docker's names where Docker has them.
 * Spec: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { Failure, log } from "./base/mod.ts";
import type { Builder } from "./build/mod.ts";
import type { Engine } from "./engine/mod.ts";

type Labels = Readonly<Record<string, string>>;
const boundsS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Durations in buckets, by action. */
class Histogram {
  readonly #byAction = new Map<string, { counts: number[]; sumS: number; count: number }>();

  constructor(actions: readonly string[]) {
    for (const action of actions) {
      this.#byAction.set(action, { counts: boundsS.map(() => 0), sumS: 0, count: 0 });
    }
  }

  observe(action: string, seconds: number): void {
    const row = this.#byAction.get(action)!;
    row.count++;
    row.sumS += seconds;
    boundsS.forEach((bound, at) => {
      if (seconds <= bound) row.counts[at]!++;
    });
  }

  lines(name: string): string[] {
    return [
      ...head(name, "histogram"),
      ...[...this.#byAction].flatMap(([action, { counts, sumS, count }]) => {
        const labels: Labels = action === "" ? {} : { action };
        return [
          ...boundsS.map((le, at) =>
            line(`${name}_bucket`, counts[at]!, { ...labels, le: String(le) }),
          ),
          line(`${name}_bucket`, count, { ...labels, le: "+Inf" }),
          line(`${name}_sum`, sumS, labels),
          line(`${name}_count`, count, labels),
        ];
      }),
    ];
  }
}

const timed = ["changes", "commit", "create", "start", "remove"] as const;
const shownAs: Labels = { remove: "delete" };

/** Builds, and why they failed, by Docker's names of reasons. */
class Builds {
  #triggered = 0;
  readonly #failed = new Map(reasons.map(([reason]) => [reason, 0]));

  /** A builder that counts. */
  counted(bare: Builder): Builder {
    const produce: Builder["produce"] = async (request, report) => {
      this.#triggered++;
      try {
        return await bare.produce(request, report);
      } catch (error) {
        const said = error instanceof Error ? error.message : "";
        const isCanceled = request.signal?.aborted ?? false;
        const found = reasons.find(([, words]) => !isCanceled && words.test(said));
        const reason = isCanceled
          ? "build_canceled"
          : (found?.[0] ?? "error_processing_commands_error");
        this.#failed.set(reason, (this.#failed.get(reason) ?? 0) + 1);
        throw error;
      }
    };
    return { ...bare, produce };
  }

  lines(): string[] {
    const failed = [...this.#failed].map(([reason, count]) => [count, { reason }] as const);
    return [
      ...describe("builder_builds_triggered_total", "counter", [[this.#triggered]]),
      ...describe("builder_builds_failed_total", "counter", failed),
    ];
  }
}

const reasons: readonly (readonly [reason: string, words: RegExp])[] = [
  ["build_canceled", /^$a/],
  ["build_target_not_reachable_error", /^target stage /],
  ["dockerfile_empty_error", /file with no instructions/],
  ["unknown_instruction_error", /unknown instruction/],
  ["dockerfile_syntax_error", /dockerfile parse error/],
  ["error_processing_commands_error", /^/],
];

/** A running count of what an engine does. */
export interface Metrics {
  /** The engine and the builder to serve in place of the bare ones: they are timed and counted. */
  readonly engine: Engine;
  readonly builder: Builder;
  text(): string;
}

/** Counts until `signal` is aborted. `info` are the labels of `engine_daemon_engine_info`. */
export function measure(
  { engine: bare, builder }: { readonly engine: Engine; readonly builder: Builder },
  info: Labels,
  signal: AbortSignal,
): Metrics {
  const actions = new Histogram(timed.map((name) => shownAs[name] ?? name));
  const network = new Histogram(["allocate", "release"]);
  const healthStart = new Histogram([""]);
  const builds = new Builds();
  const { tally } = bare;
  tally.onDuration = (subject, action, seconds) => {
    if (subject === "network") network.observe(action, seconds);
    else healthStart.observe("", seconds);
  };
  let events = 0;
  const count = async () => {
    for await (const _ of bare.events({ signal })) events++;
  };
  void count().catch((error: unknown) => log("warn", "Cannot count events", { error }));
  return {
    engine: { ...bare, ...timedActions(bare, actions) },
    builder: builds.counted(builder),
    text: () =>
      [
        ...describe("engine_daemon_engine_info", "gauge", [[1, info]]),
        ...describe("engine_daemon_engine_cpus_cpus", "gauge", [[cpus().length]]),
        ...describe("engine_daemon_engine_memory_bytes", "gauge", [[totalmem()]]),
        ...describe("engine_daemon_events_total", "counter", [[events]]),
        // Our own reader is none.
        ...describe("engine_daemon_events_subscribers_total", "gauge", [
          [tally.eventReaders() - 1],
        ]),
        ...containerStates(bare),
        ...actions.lines("engine_daemon_container_actions_seconds"),
        ...network.lines("engine_daemon_network_actions_seconds"),
        ...describe("engine_daemon_health_checks_total", "counter", [[tally.healthChecks]]),
        ...describe("engine_daemon_health_checks_failed_total", "counter", [
          [tally.failedHealthChecks],
        ]),
        ...healthStart.lines("engine_daemon_health_check_start_duration_seconds"),
        ...builds.lines(),
        ...processLines(),
      ].join("\n") + "\n",
  };
}

function timedActions(bare: Engine, actions: Histogram): Partial<Engine> {
  const wrap = (name: (typeof timed)[number]) => {
    const action = bare[name] as (...args: unknown[]) => Promise<unknown>;
    return async (...args: unknown[]) => {
      const fromMs = performance.now();
      try {
        return await action(...args);
      } finally {
        actions.observe(shownAs[name] ?? name, (performance.now() - fromMs) / 1_000);
      }
    };
  };
  return Object.fromEntries(timed.map((name) => [name, wrap(name)]));
}

function containerStates(engine: Engine): string[] {
  const states: Record<string, number> = { paused: 0, running: 0, stopped: 0 };
  const healths: Record<string, number> = { starting: 0, healthy: 0, unhealthy: 0 };
  for (const { state } of engine.list()) {
    const isUp = state.status === "running" || state.status === "restarting";
    states[state.status === "paused" ? "paused" : isUp ? "running" : "stopped"]!++;
    if (isUp && state.health) healths[state.health.Status]!++;
  }
  const rows = (counts: Record<string, number>): [number, Labels][] =>
    Object.entries(counts).map(([state, count]) => [count, { state }]);
  return [
    ...describe("engine_daemon_container_states_containers", "gauge", rows(states)),
    ...describe("lading_container_health_containers", "gauge", rows(healths)),
  ];
}

/** As the client libraries of Prometheus name them. */
function processLines(): string[] {
  const { user, system } = process.cpuUsage();
  const startedS = Date.now() / 1_000 - process.uptime();
  return [
    ...describe("process_cpu_seconds_total", "counter", [[(user + system) / 1e6]]),
    ...describe("process_resident_memory_bytes", "gauge", [[process.memoryUsage.rss()]]),
    ...describe("process_start_time_seconds", "gauge", [[startedS]]),
    ...describe("process_open_fds", "gauge", [[readdirSync("/proc/self/fd").length]]),
  ];
}

function describe(
  name: string,
  type: "gauge" | "counter",
  rows: readonly (readonly [number, Labels?])[],
): string[] {
  return [...head(name, type), ...rows.map(([value, labels]) => line(name, value, labels))];
}

function head(name: string, type: string): string[] {
  return [`# HELP ${name} ${help[name]}`, `# TYPE ${name} ${type}`];
}

const help: Labels = {
  engine_daemon_engine_info: "What engine this is, and on what host",
  engine_daemon_engine_cpus_cpus: "Processors of the host",
  engine_daemon_engine_memory_bytes: "Memory of the host",
  engine_daemon_events_total: "Events so far",
  engine_daemon_events_subscribers_total: "Clients that read events now",
  engine_daemon_container_states_containers: "Containers by state",
  engine_daemon_container_actions_seconds: "What actions on containers took",
  engine_daemon_network_actions_seconds: "What it took to give and take a container's networks",
  engine_daemon_health_checks_total: "Health checks so far",
  engine_daemon_health_checks_failed_total: "Health checks that could not be run",
  engine_daemon_health_check_start_duration_seconds: "What it took to start a health check",
  builder_builds_triggered_total: "Builds so far",
  builder_builds_failed_total: "Builds that failed, by reason",
  lading_container_health_containers: "Running containers with a health check, by its result",
  process_cpu_seconds_total: "Processor time of the engine",
  process_resident_memory_bytes: "Memory of the engine",
  process_start_time_seconds: "When the engine started",
  process_open_fds: "Open files of the engine",
};

const escapes: Labels = { "\\": "\\\\", '"': '\\"', "\n": "\\n" };

function line(name: string, value: number, labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(
    ([key, text]) => `${key}="${text.replace(/[\\"\n]/g, (found) => escapes[found]!)}"`,
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

/** Serves `GET /metrics`. @throws Failure "conflict" — the address is taken */
export function serveMetrics(
  { host, port }: { readonly host: string; readonly port: number },
  metrics: Metrics,
): Disposable {
  const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      idleTimeout: 10,
      fetch: (request) =>
        new URL(request.url).pathname === "/metrics" && request.method === "GET"
          ? new Response(metrics.text(), { headers })
          : new Response("Not found: metrics are at /metrics\n", { status: 404 }),
    });
    return { [Symbol.dispose]: () => void server.stop(true) };
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Failure("conflict", `Cannot serve metrics on ${host}:${port}: ${why}`, { cause });
  }
}
