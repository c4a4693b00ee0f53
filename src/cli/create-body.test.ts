import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import golden from "./create-body.golden.json" with { type: "json" };
import { createBody } from "./create-body.ts";
import { parseFlags } from "./flags.ts";
import { createFlags } from "./run-flags.ts";

/**
 * `create-body.golden.json` holds what Docker's client 28 sends for the same words (empty values left
 * out), or the first line of its refusal.
 */
type Golden = { args: string[]; body?: unknown; query?: object; refusal?: string };

async function bodyOf(args: readonly string[]) {
  const call = parseFlags(args, createFlags, { interspersed: false });
  return createBody(call);
}

/** Leaves out what means nothing, at every depth. */
function meaning(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(meaning);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, each]) => [name, meaning(each)] as const);
  return Object.fromEntries(
    entries.filter(([name, each]) => name !== "ConsoleSize" && !isEmpty(each)),
  );
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === 0 || value === false) {
    return true;
  }
  return typeof value === "object" && Object.keys(value).length === 0;
}

test("the golden file has the cases that it should", () => {
  expect(golden.length).toBeGreaterThan(100);
});

for (const { args, body, refusal } of golden as Golden[]) {
  test(`createBody() sends or refuses what Docker's client does: ${args.join(" ")}`, async () => {
    if (refusal !== undefined) {
      const error = await bodyOf(args).then(
        () => undefined,
        (cause: Error) => cause,
      );
      expect(error?.message).toBe(refusal);
    } else expect(meaning(JSON.parse(JSON.stringify(await bodyOf(args))))).toEqual(meaning(body));
  });
}

test("createBody() reads environment, labels and a seccomp profile from files", async () => {
  const folder = mkdtempSync(`${tmpdir()}/lading-cli-`);
  process.env["LADING_TEST_SET"] = "from here";
  try {
    writeFileSync(`${folder}/env`, "# comment\nA=1\n  B=x y\nLADING_TEST_SET\nLADING_TEST_UNSET\n");
    writeFileSync(`${folder}/labels`, "l1=a\nl2\n");
    writeFileSync(`${folder}/seccomp.json`, '{ "defaultAction": "SCMP_ACT_ALLOW" }');
    const body = await bodyOf([
      ...["--env-file", `${folder}/env`, "-e", "LADING_TEST_UNSET", "-e", "C="],
      ...["--label-file", `${folder}/labels`, "-l", "l1=b"],
      ...["--security-opt", `seccomp=${folder}/seccomp.json`, "busybox"],
    ]);
    const set = "LADING_TEST_SET=from here";
    expect(body.Env).toEqual(["A=1", "B=x y", set, "LADING_TEST_UNSET", "C="]);
    expect(body.Labels).toEqual({ l1: "b" });
    expect(body.HostConfig?.SecurityOpt).toEqual(['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']);
  } finally {
    delete process.env["LADING_TEST_SET"];
    rmSync(folder, { recursive: true });
  }
});

test("createBody() names a file that is absent", async () => {
  const absent = bodyOf(["--env-file", "/no/such/file", "busybox"]);
  await expect(absent).rejects.toThrow("open /no/such/file: no such file or directory");
});

for (const [args, words] of [
  [["--network-alias", "a"], "only supported for user-defined networks"],
  [["--network", "name=host,alias=a"], "only supported for user-defined networks"],
  [["-l", "=b"], "invalid label '=b': empty name"],
] as const) {
  test(`createBody() refuses ${args.join(" ")}`, async () => {
    await expect(bodyOf([...args, "busybox"])).rejects.toThrow(words);
  });
}

test("createBody() makes a relative source of a bind absolute", async () => {
  const body = await bodyOf(["-v", "./x:/y", "-v", "../z:/w:ro", "busybox"]);
  const parent = process.cwd().replace(/\/[^/]*$/, "");
  expect(body.HostConfig?.Binds).toEqual([`${process.cwd()}/x:/y`, `${parent}/z:/w:ro`]);
});
