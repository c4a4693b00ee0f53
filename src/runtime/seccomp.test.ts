import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { defaultCapabilities } from "./defaults.ts";
import { resolveSeccomp } from "./seccomp.ts";
import { compileFilter } from "./seccomp-filter.ts";
import { tightenProfile } from "./seccomp-strict.ts";

const subject = {
  capabilities: defaultCapabilities,
  architecture: "amd64",
  kernel: [6, 1],
} as const;
const resolve = (profile: object, more: Partial<typeof subject> = {}) =>
  resolveSeccomp(JSON.stringify(profile), { ...subject, ...more });
const rule = (names: string[], more: object = {}) => ({ names, action: "SCMP_ACT_ALLOW", ...more });

test("resolveSeccomp() takes the machine's architectures from the map", () => {
  const archMap = [
    { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
    { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
  ];
  const profile = { defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1, archMap, syscalls: [] };
  expect(resolve(profile)).toEqual({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls: [],
  });
});

const conditions: [what: string, rule: object, isIn: boolean][] = [
  ["no condition", {}, true],
  ["a capability there", { includes: { caps: ["CAP_CHOWN"] } }, true],
  ["a capability not there", { includes: { caps: ["CAP_CHOWN", "CAP_SYS_ADMIN"] } }, false],
  ["an excluded capability", { excludes: { caps: ["CAP_CHOWN"] } }, false],
  ["an excluded one not there", { excludes: { caps: ["CAP_SYS_ADMIN"] } }, true],
  ["this machine", { includes: { arches: ["amd64", "x32"] } }, true],
  ["another machine", { includes: { arches: ["s390x"] } }, false],
  ["an excluded machine", { excludes: { arches: ["amd64"] } }, false],
  ["an older kernel", { includes: { minKernel: "4.8" } }, true],
  ["this kernel", { includes: { minKernel: "6.1" } }, true],
  ["a newer kernel", { includes: { minKernel: "6.10" } }, false],
];
for (const [what, more, isIn] of conditions) {
  test(`resolveSeccomp() ${isIn ? "keeps" : "drops"} a rule for ${what}`, () => {
    const profile = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [rule(["read"], more)] };
    expect(resolve(profile).syscalls).toHaveLength(isIn ? 1 : 0);
  });
}

for (const [text, why] of [
  ["{", "Decoding seccomp profile failed"],
  ["[]", "no default action"],
  ['{"defaultAction":"SCMP_ACT_ALLOW","architectures":["a"],"archMap":[{}]}', "use either one"],
  ['{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"]}]}', "use either one"],
] as const) {
  test(`resolveSeccomp() refuses ${text}`, () => {
    expect(() => resolveSeccomp(text, subject)).toThrow(why);
  });
}

test("compileFilter() gives a program of whole instructions, and none for what it cannot do", () => {
  const profile = resolve({
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [
      rule(["read", "write", "no_such_call"]),
      rule(["personality"], { args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }] }),
    ],
  });
  const program = Buffer.from(compileFilter(profile) ?? "", "base64");
  expect(program.length).toBeGreaterThan(40);
  expect(program.length % 8).toBe(0);
  const notify = { ...profile, defaultAction: "SCMP_ACT_NOTIFY" };
  expect(compileFilter(notify)).toBeUndefined();
  expect(compileFilter({ ...profile, flags: ["SECCOMP_FILTER_FLAG_LOG"] })).toBeUndefined();
});

const path = "/usr/share/containers/seccomp.json";
test.skipIf(!existsSync(path))("the profile of Debian's package resolves and compiles", () => {
  const profile = resolveSeccomp(tightenProfile(readFileSync(path, "utf8")), subject);
  const allowed = profile.syscalls.filter(({ action }) => action === "SCMP_ACT_ALLOW");
  const names = allowed.flatMap(({ names }) => names);
  expect(names).toContain("openat2");
  for (const name of ["mount", "unshare", "io_uring_setup"]) expect(names).not.toContain(name);
  expect(Buffer.from(compileFilter(profile)!, "base64").length).toBeGreaterThan(4_000);
});
