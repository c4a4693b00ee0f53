import { constants } from "node:os";
import { Failure } from "../base/mod.ts";

const realtimeMin = 34;
const realtimeMax = 64;

/**
 * A signal's number from `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`. @throws "invalid"
 * signal(7): https://man7.org/linux/man-pages/man7/signal.7.html
 */
export function parseSignal(text: string): number {
  const name = text.trim().toUpperCase().replace(/^SIG/, "");
  const number = /^\d+$/.test(name) ? Number(name) : (named(name) ?? realtime(name));
  if (number !== undefined && number > 0 && number <= realtimeMax) return number;
  throw new Failure("invalid", `Invalid signal: ${text.slice(0, 100)}`, {
    hint: "Use a name such as TERM or SIGTERM, or a number from 1 to 64",
  });
}

function named(name: string): number | undefined {
  const table: Readonly<Record<string, number>> = constants.signals;
  if (name === "CLD") return table["SIGCHLD"];
  return Object.hasOwn(table, `SIG${name}`) ? table[`SIG${name}`] : undefined;
}

function realtime(name: string): number | undefined {
  const [, edge, offset = "0"] = /^RT(MIN|MAX)(?:[+-](\d{1,2}))?$/.exec(name) ?? [];
  if (edge === undefined) return undefined;
  const number = edge === "MIN" ? realtimeMin + Number(offset) : realtimeMax - Number(offset);
  return number >= realtimeMin && number <= realtimeMax ? number : undefined;
}
