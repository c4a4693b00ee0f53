/** What every `inspect` does: finds objects, prints them as JSON or through a template. */
import { Failure } from "../base/mod.ts";
import { goJson } from "../template/mod.ts";
import { complaintText } from "./complaint.ts";
import { complain, print } from "./output.ts";

/** The exit code for a template that cannot be parsed. */
const badTemplateCode = 64;

/**
 * Prints what `find` gives for each name: all in one JSON list, or each through the template. Names that
 * are not found are told of at the end. Returns the exit code.
 */
export async function inspectObjects(
  names: readonly string[],
  format: string,
  find: (name: string) => Promise<unknown>,
): Promise<number> {
  const { parseTemplate, runTemplate } =
    require("../template/mod.ts") as typeof import("../template/mod.ts");
  const isPlain = format === "" || format === "json";
  let template: ReturnType<typeof parseTemplate> | undefined;
  if (!isPlain) {
    try {
      template = parseTemplate(format);
    } catch (error) {
      complain(`template parsing error: ${(error as Error).message}`);
      return badTemplateCode;
    }
  }
  const found: unknown[] = [];
  const complaints: string[] = [];
  for (const name of names) {
    try {
      found.push(await find(name));
    } catch (error) {
      complaints.push(complaintText(error));
    }
  }
  if (format === "json") print(goJson(found));
  else if (!template) print(JSON.stringify(found, null, 4));
  else {
    for (const object of found) {
      try {
        print(runTemplate(template, object));
      } catch (cause) {
        print("");
        const why = (cause as Error).message;
        throw new Failure("invalid", `template parsing error: ${why}`, { cause });
      }
    }
  }
  for (const complaint of complaints) complain(complaint);
  return complaints.length > 0 ? 1 : 0;
}

export const formatFlag = {
  kind: "string",
  short: "f",
  about: '"json" or a Go template',
} as const;
