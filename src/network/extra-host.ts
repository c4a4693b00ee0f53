import { isIP } from "node:net";
import { Failure } from "../base/mod.ts";

/**
 * `--add-host`: `name:address`, `name=address`, or with `host-gateway` for the address.
 * @throws Failure "invalid"
 */
export function parseExtraHost(entry: string): readonly [name: string, address: string] {
  const at = entry.search(/[:=]/);
  const name = entry.slice(0, at);
  const address = entry.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
  if (at <= 0 || address === "") throw bad(`bad format for add-host: "${entry.slice(0, 200)}"`);
  if (address !== "host-gateway" && isIP(address) === 0) {
    throw bad(`invalid IP address in add-host: "${address.slice(0, 100)}"`);
  }
  if (/\s/.test(name)) throw bad(`bad format for add-host: "${entry.slice(0, 200)}"`);
  return [name, address];
}

function bad(message: string): Failure {
  return new Failure("invalid", message);
}
