import { expect, test } from "bun:test";
import { resolveSeccomp } from "./seccomp.ts";
import { tightenProfile } from "./seccomp-strict.ts";

const loose = JSON.stringify({
  defaultAction: "SCMP_ACT_ERRNO",
  syscalls: [
    { names: ["read", "unshare", "clone", "clone3", "keyctl"], action: "SCMP_ACT_ALLOW" },
    { names: ["setns"], action: "SCMP_ACT_ALLOW", includes: { caps: ["CAP_SYS_ADMIN"] } },
  ],
});

function actionsOf(name: string, capabilities: string[]) {
  const subject = { capabilities, architecture: "amd64", kernel: [6, 1] as const };
  const { syscalls } = resolveSeccomp(tightenProfile(loose), subject);
  return syscalls
    .filter(({ names }) => names.includes(name))
    .map(({ action, errnoRet, args }) => [action.slice(9), errnoRet, args?.length ?? 0]);
}

test("tightenProfile() keeps what is harmless", () => {
  expect(actionsOf("read", [])).toEqual([["ALLOW", undefined, 0]]);
});

test("tightenProfile() refuses namespaces to those without CAP_SYS_ADMIN", () => {
  expect(actionsOf("unshare", [])).toEqual([["ERRNO", 1, 0]]);
  expect(actionsOf("setns", [])).toEqual([["ERRNO", 1, 0]]);
  expect(actionsOf("clone3", [])).toEqual([["ERRNO", 38, 0]]);
  expect(actionsOf("clone", [])[0]).toEqual(["ALLOW", undefined, 1]);
  expect(actionsOf("clone", []).slice(1)).toEqual(Array(7).fill(["ERRNO", 1, 1]));
});

test("tightenProfile() allows them with CAP_SYS_ADMIN", () => {
  for (const name of ["unshare", "setns", "clone", "clone3", "mount"]) {
    expect(actionsOf(name, ["CAP_SYS_ADMIN"])).toEqual([["ALLOW", undefined, 0]]);
  }
});

test("tightenProfile() refuses kernel keys to everybody", () => {
  expect(actionsOf("keyctl", ["CAP_SYS_ADMIN"])).toEqual([["ERRNO", 1, 0]]);
});
