import { readFileSync } from "node:fs";
import { Failure } from "../base/mod.ts";
import { defaultCapabilities } from "./defaults.ts";

/** In the kernel's order: the index is the number. capabilities(7) */
const known = `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`
  .split(/\s+/)
  .map((name) => `CAP_${name}`);

let ours: readonly string[] | undefined;

/** The capabilities that this daemon could hand on: its bounding set. */
function available(): readonly string[] {
  if (ours) return ours;
  const status = readFileSync("/proc/self/status", "utf8");
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  ours = known.filter((_, number) => (mask >> BigInt(number)) & 1n);
  return ours;
}

/** `net_admin`, `CAP_NET_ADMIN` or `ALL`, as the OCI specification spells it. @throws "invalid" */
export function parseCapability(text: string, field: string): string {
  const upper = text.toUpperCase();
  if (upper === "ALL") return upper;
  const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (known.includes(name)) return name;
  throw new Failure("invalid", `invalid ${field}: unknown capability: "${name.slice(0, 100)}"`);
}

/** The set after `--cap-add`, `--cap-drop` and `--privileged`, in the kernel's order. */
export function capabilities(asked: {
  readonly add: readonly string[] | null;
  readonly drop: readonly string[] | null;
  readonly privileged: boolean;
}): string[] {
  if (asked.privileged) return [...available()];
  const add = (asked.add ?? []).map((text) => parseCapability(text, "CapAdd"));
  const drop = (asked.drop ?? []).map((text) => parseCapability(text, "CapDrop"));
  const isIn = (name: string) => {
    if (drop.includes(name)) return false;
    if (add.includes(name)) return true;
    if (add.includes("ALL")) return true;
    return !drop.includes("ALL") && defaultCapabilities.includes(name);
  };
  return available().filter(isIn);
}
