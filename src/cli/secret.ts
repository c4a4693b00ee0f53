/** Reads a line without showing it. */
import { Failure } from "../base/mod.ts";
import { complain } from "./output.ts";
import { makeRaw, restoreTerminal, typedBytes } from "./terminal.ts";

/** @throws Failure "invalid" — the user pressed Ctrl-C or Ctrl-D */
export async function readSecret(): Promise<string> {
  makeRaw();
  let text = "";
  try {
    for await (const bytes of typedBytes()) {
      for (const sign of Buffer.from(bytes).toString()) {
        if (sign === "\r" || sign === "\n") return text;
        if (sign === "\x03" || sign === "\x04")
          throw new Failure("invalid", "Login was broken off");
        text = sign === "\x7f" ? text.slice(0, -1) : text + sign;
      }
    }
    return text;
  } finally {
    restoreTerminal();
    complain("");
  }
}
