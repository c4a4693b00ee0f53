import type { RegistryEvent } from "./server-call.ts";
import type { RegistryStore } from "./store-open.ts";

const buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60];

/** Counts for Prometheus. Labels have few values: no repository's name is one. */
export class Metrics {
  readonly #requests = new Map<string, number>();
  readonly #events = new Map<string, number>();
  readonly #durations = new Array<number>(buckets.length + 1).fill(0);
  #durationSum = 0;
  #bytesOut = 0;
  #bytesIn = 0;

  request(method: string, status: number, seconds: number): void {
    const known = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"].includes(method);
    bump(this.#requests, `method="${known ? method : "other"}",code="${status}"`);
    const at = buckets.findIndex((bound) => seconds <= bound);
    this.#durations[at < 0 ? buckets.length : at]!++;
    this.#durationSum += seconds;
  }

  event({ action, kind, sizeBytes = 0 }: RegistryEvent): void {
    bump(this.#events, `action="${action}",kind="${kind}"`);
    if (action === "pull") this.#bytesOut += sizeBytes;
    if (action === "push") this.#bytesIn += sizeBytes;
  }

  /** https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format */
  text(store: RegistryStore): string {
    let sum = 0;
    const durations = this.#durations.map((count, at) => {
      sum += count;
      return `lading_registry_request_seconds_bucket{le="${buckets[at] ?? "+Inf"}"} ${sum}`;
    });
    const count = (table: string, where = "1") =>
      store.database
        .query<{ count: number }, []>(
          `SELECT count(*) AS count FROM registry_${table} WHERE ${where}`,
        )
        .get()?.count ?? 0;
    return [
      "# TYPE lading_registry_requests_total counter",
      ...[...this.#requests].map(([labels, n]) => `lading_registry_requests_total{${labels}} ${n}`),
      "# TYPE lading_registry_request_seconds histogram",
      ...durations,
      `lading_registry_request_seconds_sum ${this.#durationSum}`,
      `lading_registry_request_seconds_count ${sum}`,
      "# TYPE lading_registry_events_total counter",
      ...[...this.#events].map(([labels, n]) => `lading_registry_events_total{${labels}} ${n}`),
      "# TYPE lading_registry_pulled_bytes_total counter",
      `lading_registry_pulled_bytes_total ${this.#bytesOut}`,
      "# TYPE lading_registry_pushed_bytes_total counter",
      `lading_registry_pushed_bytes_total ${this.#bytesIn}`,
      "# TYPE lading_registry_repositories gauge",
      `lading_registry_repositories ${count("repository")}`,
      "# TYPE lading_registry_manifests gauge",
      `lading_registry_manifests ${count("manifest", "removed_ms IS NULL")}`,
      "# TYPE lading_registry_uploads_open gauge",
      `lading_registry_uploads_open ${count("upload")}`,
      "# TYPE process_resident_memory_bytes gauge",
      `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
      "",
    ].join("\n");
  }
}

function bump(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}
