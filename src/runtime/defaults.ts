import type { Mount } from "../sys/mod.ts";
import type { DeviceRule } from "./types.ts";

const list = (text: string) => text.trim().split(/\s+/);

/** What a container has unless it is told otherwise; Docker's fourteen. capabilities(7) */
export const defaultCapabilities: readonly string[] = list(`
  CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
  SYS_CHROOT KILL AUDIT_WRITE`).map((name) => `CAP_${name}`);

/** Covered with nothing: they would tell of the host, or change it. */
export const defaultMaskedPaths: readonly string[] = list(`
  /proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats
  /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware
  /sys/devices/virtual/powercap`);

/** To be read, not written. */
export const defaultReadonlyPaths: readonly string[] = list(`
  /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger`);

/** Where the init program stands in a container that has one. */
export const initTarget = "/sbin/docker-init";

const mount = (type: string, target: string, options: string, source = type): Mount => ({
  type,
  source,
  target,
  options: options.split(" "),
});

/** The file systems that each container has, as Docker mounts them, in order. */
export function defaultMounts({
  shmSizeBytes,
  isPrivileged,
  isSharedIpc,
  hasQueues,
  writesCgroups,
}: {
  shmSizeBytes: number;
  isPrivileged: boolean;
  isSharedIpc: boolean;
  hasQueues: boolean;
  writesCgroups: boolean;
}): Mount[] {
  const access = isPrivileged ? "rw" : "ro";
  const shm = isSharedIpc
    ? mount("bind", "/dev/shm", "rbind nosuid noexec nodev", "/dev/shm")
    : mount("tmpfs", "/dev/shm", `nosuid noexec nodev mode=1777 size=${shmSizeBytes}`, "shm");
  return [
    mount("proc", "/proc", "nosuid noexec nodev"),
    mount("tmpfs", "/dev", "nosuid strictatime mode=755 size=65536k"),
    mount("devpts", "/dev/pts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
    mount("sysfs", "/sys", `nosuid noexec nodev ${access}`),
    mount("cgroup", "/sys/fs/cgroup", `${writesCgroups ? "rw" : "ro"} nosuid noexec nodev`),
    // Of the namespace that the container is in, be it the host's, where nobody may have mounted it.
    ...(hasQueues ? [mount("mqueue", "/dev/mqueue", "nosuid noexec nodev")] : []),
    ...(shmSizeBytes === 0 ? [] : [shm]),
  ];
}

const character = (major: number, minor?: number): DeviceRule => ({
  allow: true,
  type: "c",
  major,
  ...(minor === undefined ? {} : { minor }),
  access: "rwm",
});

/** First nothing, then: null, zero, full, random, urandom, tty, console, ptmx, terminals; any mknod. */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: false, type: "a", access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  character(1, 3),
  character(1, 5),
  character(1, 7),
  character(1, 8),
  character(1, 9),
  character(5, 0),
  character(5, 1),
  character(5, 2),
  character(136),
];
