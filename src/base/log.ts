export type Level = "debug" | "info" | "warn" | "error";
const rank: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };
let threshold: Level = "info";
let isJson = false;

/** Sets the least level that is written. The daemon's `--log-level` ends here. */
export function setLogLevel(level: Level): void {
  threshold = level;
}

/** Lines as JSON objects with `time`, `level`, `msg` and the fields: `--log-format json`. */
export function setLogFormat(format: "text" | "json"): void {
  isJson = format === "json";
}

/** Writes one line to stderr: time, level, message, then `key=value` for each field. */
export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  if (rank[level] < rank[threshold]) return;
  if (isJson) {
    const plain = Object.entries(fields).map(([key, value]) => [key, jsonValue(value)]);
    const line = { time: new Date().toISOString(), level, msg: message };
    process.stderr.write(`${JSON.stringify({ ...Object.fromEntries(plain), ...line })}\n`);
    return;
  }
  const tail = Object.entries(fields).map(([key, value]) => ` ${key}=${show(value)}`);
  process.stderr.write(`${new Date().toISOString()} ${level} ${message}${tail.join("")}\n`);
}

function jsonValue(value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return typeof value === "bigint" ? String(value) : value;
}

function show(value: unknown): string {
  const text = value instanceof Error ? value.message : String(value);
  return /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}
