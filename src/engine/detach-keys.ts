import { Failure } from "../base/mod.ts";

const controls = "@abcdefghijklmnopqrstuvwxyz[\\]^_";
const keysMax = 64;

/** The bytes of `ctrl-p,ctrl-q`, `a,ctrl-@` and the like; "" is the default. @throws "invalid" */
export function parseDetachKeys(text: string): Uint8Array {
  const keys = (text === "" ? "ctrl-p,ctrl-q" : text).split(",");
  if (keys.length > keysMax) throw refused(text);
  return new Uint8Array(
    keys.map((key) => {
      const [, control] = /^ctrl-(.)$/i.exec(key) ?? [];
      if (control !== undefined) {
        const code = controls.indexOf(control.toLowerCase());
        if (code >= 0) return code;
      } else if (key.length === 1 && key.charCodeAt(0) < 128) return key.charCodeAt(0);
      throw refused(text);
    }),
  );
}

function refused(text: string): Failure {
  return new Failure("invalid", `Invalid detach keys (${text.slice(0, 100)}) provided`, {
    hint: "Use letters, or ctrl- and one of a-z @ [ \\ ] ^ _, with commas between",
  });
}

export interface DetachFilter {
  /** The bytes to pass on. Once `isDetached`, what was typed after the keys is dropped. */
  push(bytes: Uint8Array): { readonly pass: Uint8Array; readonly isDetached: boolean };
  /** What was withheld as the beginning of the keys, when the stream ends before the rest of them. */
  flush(): Uint8Array;
}

/**
 * Watches typed bytes for the detach keys, over the borders of chunks. A beginning of the keys is
 * withheld until it is clear what it is, and passed on if it was something else (Knuth-Morris-Pratt,
 * so that ctrl-p ctrl-p ctrl-q detaches too).
 */
export function detachFilter(keys: Uint8Array): DetachFilter {
  const back = borders(keys);
  let matched = 0;
  return {
    push(bytes) {
      const pass = new Uint8Array(matched + bytes.length);
      let length = 0;
      for (const byte of bytes) {
        while (matched > 0 && keys[matched] !== byte) {
          const shorter = back[matched - 1]!;
          pass.set(keys.subarray(0, matched - shorter), length);
          length += matched - shorter;
          matched = shorter;
        }
        if (keys[matched] === byte) matched++;
        else pass[length++] = byte;
        if (matched === keys.length) {
          matched = 0;
          return { pass: pass.subarray(0, length), isDetached: true };
        }
      }
      return { pass: pass.subarray(0, length), isDetached: false };
    },
    flush() {
      const rest = keys.slice(0, matched);
      matched = 0;
      return rest;
    },
  };
}

/** For each prefix, the length of its longest proper prefix that is also its suffix. */
function borders(keys: Uint8Array): number[] {
  const back = [0];
  for (let index = 1, length = 0; index < keys.length; index++) {
    while (length > 0 && keys[length] !== keys[index]) length = back[length - 1]!;
    if (keys[length] === keys[index]) length++;
    back.push(length);
  }
  return back;
}
