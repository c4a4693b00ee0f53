/** `--format` of commands that show one object: `info`, `version`. */
import { Failure } from "../base/mod.ts";

/** The object through a template, or as JSON for "json". @throws Failure "invalid" */
export function formatObject(data: unknown, format: string): string {
  const { parseTemplate, runTemplate } =
    require("../template/mod.ts") as typeof import("../template/mod.ts");
  try {
    const source = format === "json" ? "{{json .}}" : format;
    return runTemplate(parseTemplate(source), data);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Failure("invalid", `template parsing error: ${why}`, { cause });
  }
}
