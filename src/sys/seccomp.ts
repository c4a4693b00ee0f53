import { dlopen, FFIType as T } from "bun:ffi";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { Failure } from "../base/mod.ts";
import { cstr } from "./libc.ts";

/** A condition on one argument of a system call. seccomp_rule_add(3) */
export interface SyscallCondition {
  readonly index: number;
  readonly operator: number;
  readonly value: bigint;
  readonly valueTwo: bigint;
}

/** What shall happen to a system call when all conditions hold. */
export interface SyscallRule {
  readonly name: string;
  readonly action: number;
  readonly conditions: readonly SyscallCondition[];
}

const unknownSyscall = -1;
const attribute = { badArchitecture: 2, optimize: 8 } as const;
const conditionBytes = 24;

function openLibrary() {
  try {
    return dlopen("libseccomp.so.2", {
      seccomp_init: { args: [T.u32], returns: T.ptr },
      seccomp_release: { args: [T.ptr], returns: T.void },
      seccomp_arch_add: { args: [T.ptr, T.u32], returns: T.i32 },
      seccomp_arch_resolve_name: { args: [T.ptr], returns: T.u32 },
      seccomp_attr_set: { args: [T.ptr, T.i32, T.u32], returns: T.i32 },
      seccomp_syscall_resolve_name: { args: [T.ptr], returns: T.i32 },
      seccomp_rule_add_array: { args: [T.ptr, T.u32, T.i32, T.u32, T.ptr], returns: T.i32 },
      seccomp_export_bpf: { args: [T.ptr, T.i32], returns: T.i32 },
    }).symbols;
  } catch {
    return undefined; // without it the OCI runtime makes the filter, which takes longer
  }
}

/**
 * The program of a system call filter, as seccomp(2) takes it, or undefined where libseccomp is absent.
 * It takes some 15 ms: keep the result. System calls that the library does not know are left out.
 * @throws "invalid" — an unknown architecture, or rules that contradict each other
 */
export function compileSyscallFilter(filter: {
  readonly defaultAction: number;
  /** `x86_64`, `x86` and so on; the machine's own is always in it. */
  readonly architectures: readonly string[];
  readonly rules: readonly SyscallRule[];
}): Uint8Array | undefined {
  const lib = openLibrary();
  if (!lib) return undefined;
  const context = lib.seccomp_init(filter.defaultAction);
  if (!context) throw refused("start", -1);
  const must = (what: string, result: number, allowed: readonly number[] = []) => {
    if (result !== 0 && !allowed.includes(result)) throw refused(what, result);
  };
  try {
    for (const name of filter.architectures) {
      const architecture = lib.seccomp_arch_resolve_name(cstr(name));
      const there = -17;
      must(`take architecture ${name}`, lib.seccomp_arch_add(context, architecture), [there]);
    }
    // A binary tree: containers pay for each step through the list, at each call.
    lib.seccomp_attr_set(context, attribute.optimize, 2);
    for (const { name, action, conditions } of filter.rules) {
      const number = lib.seccomp_syscall_resolve_name(cstr(name));
      if (number === unknownSyscall || action === filter.defaultAction) continue;
      const { length } = conditions;
      const array = encodeConditions(conditions);
      const result = lib.seccomp_rule_add_array(context, action, number, length, array);
      must(`take the rule for ${name}`, result, [-17, -33]);
    }
    return exported((file) => must("export", lib.seccomp_export_bpf(context, file)));
  } finally {
    lib.seccomp_release(context);
  }
}

function encodeConditions(conditions: readonly SyscallCondition[]): Uint8Array {
  const bytes = Buffer.alloc(conditionBytes * Math.max(1, conditions.length));
  conditions.forEach(({ index, operator, value, valueTwo }, at) => {
    bytes.writeUInt32LE(index, at * conditionBytes);
    bytes.writeInt32LE(operator, at * conditionBytes + 4);
    bytes.writeBigUInt64LE(value, at * conditionBytes + 8);
    bytes.writeBigUInt64LE(valueTwo, at * conditionBytes + 16);
  });
  return bytes;
}

function exported(write: (file: number) => void): Uint8Array {
  const folder = mkdtempSync(`${tmpdir()}/lading-seccomp-`);
  try {
    const file = openSync(`${folder}/bpf`, "w");
    try {
      write(file);
    } finally {
      closeSync(file);
    }
    return new Uint8Array(readFileSync(`${folder}/bpf`));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function refused(what: string, result: number): Failure {
  return new Failure("invalid", `Cannot make a system call filter: cannot ${what}: ${result}`);
}
