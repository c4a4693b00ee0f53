/** Each check has a page in the manual, and its examples are as the page says. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkDockerfile } from "./checks.ts";
import { type RuleName, rules, ruleUrl } from "./checks-rules.ts";
import { compileIgnore } from "./ignore.ts";
import { parseDockerfile } from "./parse.ts";
import { plan } from "./stages.ts";

const folder = join(import.meta.dir, "../../docs/manual/checks");
const names = Object.keys(rules) as RuleName[];

function found(text: string): string[] {
  const dockerfile = parseDockerfile(text);
  let planned: ReturnType<typeof plan> | undefined;
  try {
    planned = plan(dockerfile, { buildArgs: {}, platformArgs: {}, target: "" });
  } catch {
    // An example may be of what cannot be built.
  }
  const facts = { environmentOf: () => ["PATH"], ignore: compileIgnore(["*.log"]) };
  const all = checkDockerfile(dockerfile, { ...facts, ...(planned ? { plan: planned } : {}) });
  return all.map(({ check }) => check);
}

describe("the manual's page of", () => {
  test.each(names)("%s shows what is found, and what is not", (name) => {
    const page = readFileSync(join(folder, `${name}.md`), "utf8");
    const [bad = "", good = ""] = [...page.matchAll(/```dockerfile\n(.*?)```/gs)].map(
      ([, text]) => text,
    );
    expect(found(bad)).toEqual([name]);
    expect(found(good)).toEqual([]);
  });

  test("every check is there, and of no other", () => {
    const pages = readdirSync(folder).filter((file) => file !== "README.md");
    expect(pages.sort()).toEqual(names.map((name) => `${name}.md`).sort());
    expect(names).toHaveLength(21);
  });
});

test("ruleUrl() leads to Docker's page", () => {
  const base = "https://docs.docker.com/go/dockerfile/rule";
  expect(ruleUrl("JSONArgsRecommended")).toBe(`${base}/json-args-recommended/`);
  expect(ruleUrl("SecretsUsedInArgOrEnv")).toBe(`${base}/secrets-used-in-arg-or-env/`);
});
