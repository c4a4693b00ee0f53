/** How failures look on stderr. */
import { type Failure, toFailure } from "../base/mod.ts";
import { complain, print } from "./output.ts";

/** True for an answer of the engine, false for a failure on this side. */
export function isAnswer(failure: Failure): boolean {
  return typeof (failure.cause as { status?: unknown } | undefined)?.status === "number";
}

/** `Error response from daemon: No such container: x`, then the hint on its own line. */
export function complaintText(error: unknown): string {
  const failure = toFailure(error);
  const text =
    (isAnswer(failure) ? "Error response from daemon: " : "") + failure.message.trimEnd();
  return failure.hint ? `${text}\n${failure.hint}` : text;
}

/**
 * Does `work` for each name, tells of each failure, and goes on. Returns the exit code: 1 when any
 * failed. At most `width` at a time; what `work` returns is printed, in the order of the names.
 */
export async function forEachName(
  names: readonly string[],
  work: (name: string) => Promise<string | undefined>,
  { width = 1 }: { width?: number } = {},
): Promise<number> {
  let code = 0;
  const results = new Map<number, Promise<string | undefined>>();
  const startOne = (at: number) => {
    const result = work(names[at]!);
    result.catch(() => {}); // told of below, in order
    results.set(at, result);
  };
  for (let at = 0; at < names.length; at++) {
    for (let next = results.size; next < Math.min(names.length, at + width); next++) startOne(next);
    try {
      const text = await results.get(at);
      if (text !== undefined) print(text);
    } catch (error) {
      complain(complaintText(error));
      code = 1;
    }
  }
  return code;
}
