import type { Database } from "bun:sqlite";
import { createHmac, randomUUID } from "node:crypto";
import { log } from "../base/mod.ts";
import type { WebhookRule } from "./config.ts";
import { compileGlobs } from "./glob.ts";
import type { RegistryEvent } from "./server-call.ts";

const queuedMax = 10_000;
const attemptsMax = 12;
const timeoutMs = 10_000;
const firstRetryMs = 1_000;
const lastRetryMs = 600_000;

type Queued = { id: number; url: string; body: string; attempts: number };

/**
 * Tells other programs what happened: one POST of JSON an event, in order for each address, again later
 * when it was not taken (with backoff, at most `attemptsMax` times), also after a restart. Signed with
 * the hook's secret: `X-Lading-Signature: sha256=<hmac of the body>`.
 */
export class Hooks {
  readonly #database: Database;
  readonly #rules: readonly (WebhookRule & { matches: (name: string) => boolean })[];
  readonly #running = new Set<string>();
  readonly #timers = new Set<Timer>();
  #isClosed = false;

  constructor(database: Database, rules: readonly WebhookRule[]) {
    this.#database = database;
    this.#rules = rules.map((rule) => ({ ...rule, matches: compileGlobs(rule.repositories) }));
    database.run(`CREATE TABLE IF NOT EXISTS registry_hook (
      id INTEGER PRIMARY KEY, url TEXT NOT NULL, body TEXT NOT NULL,
      attempts INTEGER NOT NULL, due_ms INTEGER NOT NULL) STRICT`);
    for (const { url } of this.#rules) void this.#deliver(url);
  }

  tell(event: RegistryEvent): void {
    for (const rule of this.#rules) {
      if (!rule.events.includes(event.action) || !rule.matches(event.repository)) continue;
      const row = this.#database
        .query<{ count: number }, []>("SELECT count(*) AS count FROM registry_hook")
        .get();
      if ((row?.count ?? 0) >= queuedMax) {
        log("error", "Cannot queue a webhook: too many wait", { url: rule.url });
        continue;
      }
      const body = JSON.stringify({ id: randomUUID(), at: new Date().toISOString(), ...event });
      this.#database
        .query("INSERT INTO registry_hook (url, body, attempts, due_ms) VALUES (?, ?, 0, 0)")
        .run(rule.url, body);
      void this.#deliver(rule.url);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** One at a time for each address, oldest first; ends when the queue is empty or must wait. */
  async #deliver(url: string): Promise<void> {
    if (this.#running.has(url)) return;
    this.#running.add(url);
    try {
      while (!this.#isClosed) {
        const next = this.#database
          .query<Queued & { dueMs: number }, [string]>(
            `SELECT id, url, body, attempts, due_ms AS dueMs FROM registry_hook
             WHERE url = ? ORDER BY id LIMIT 1`,
          )
          .get(url);
        if (!next) return;
        const waitMs = next.dueMs - Date.now();
        if (waitMs > 0) {
          this.#later(url, waitMs);
          return;
        }
        const isTaken = await this.#send(next);
        if (this.#isClosed) return;
        this.#settle(next, isTaken);
      }
    } finally {
      this.#running.delete(url);
    }
  }

  #settle({ id, url, attempts }: Queued, isTaken: boolean): void {
    const isOver = attempts + 1 >= attemptsMax;
    if (isTaken || isOver) {
      if (!isTaken)
        log("error", "Cannot deliver a webhook: given up", { url, attempts: attempts + 1 });
      this.#database.query("DELETE FROM registry_hook WHERE id = ?").run(id);
      return;
    }
    const waitMs = Math.min(lastRetryMs, firstRetryMs * 2 ** attempts);
    this.#database
      .query("UPDATE registry_hook SET attempts = attempts + 1, due_ms = ? WHERE id = ?")
      .run(Date.now() + waitMs, id);
  }

  #later(url: string, waitMs: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#deliver(url);
    }, waitMs);
    this.#timers.add(timer);
  }

  async #send({ url, body }: Queued): Promise<boolean> {
    const secret = this.#rules.find((rule) => rule.url === url)?.secret;
    try {
      const answer = await fetch(url, {
        method: "POST",
        body,
        redirect: "error", // the signature is for this address
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          "Content-Type": "application/json",
          ...(secret === undefined ? {} : { "X-Lading-Signature": `sha256=${sign(body, secret)}` }),
        },
      });
      await answer.body?.cancel();
      return answer.ok;
    } catch (error) {
      log("debug", "Cannot deliver a webhook now", { url, error });
      return false;
    }
  }
}

function sign(body: string, secret: string): string {
  return createHmac("sha256", secret).update(body).digest("hex");
}
