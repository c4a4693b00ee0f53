/**
 * Debian's default profile serves engines that let a container make user namespaces. Docker's does not:
 * a process without CAP_SYS_ADMIN can neither make namespaces nor mount, so that kernel code which only
 * root used to reach stays out of reach. This takes those calls out of what Debian's profile allows.
 * What Docker blocks: https://docs.docker.com/engine/security/seccomp/
 */

type Rule = {
  names?: string[];
  action: string;
  errnoRet?: number;
  args?: object[] | null;
  includes?: object;
  excludes?: object;
};

const EPERM = 1;
const ENOSYS = 38;

/** Allowed with CAP_SYS_ADMIN only. */
const administrative = [
  "fsconfig",
  "fsmount",
  "fsopen",
  "fspick",
  "mount",
  "mount_setattr",
  "move_mount",
  "open_tree",
  "pivot_root",
  "setns",
  "umount",
  "umount2",
  "unshare",
];

/** Allowed with one capability of their own. */
const single = [
  { name: "reboot", capability: "CAP_SYS_BOOT" },
  { name: "syslog", capability: "CAP_SYSLOG" },
];

/**
 * Keys are not in a namespace: containers would share them with each other and with the host. io_uring
 * does what other calls do, past every filter.
 */
const never = [
  "add_key",
  "io_uring_enter",
  "io_uring_register",
  "io_uring_setup",
  "keyctl",
  "request_key",
];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. clone(2) */
const namespaceFlags = [
  0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
];
const allNamespaceFlags = namespaceFlags.reduce((all, flag) => all + flag);

const admin = { caps: ["CAP_SYS_ADMIN"] };

/** The profile's text with Docker's bounds. Other rules stay as they are. */
export function tightenProfile(text: string): string {
  const profile = JSON.parse(text) as { syscalls: Rule[] };
  const moved = new Set([
    ...administrative,
    ...single.map(({ name }) => name),
    ...never,
    "clone",
    "clone3",
  ]);
  const kept = profile.syscalls.map((rule) => ({
    ...rule,
    names: (rule.names ?? []).filter((name) => !moved.has(name)),
  }));
  const rules: Rule[] = [
    ...kept.filter(({ names }) => names.length > 0),
    { names: [...administrative, "clone", "clone3"], action: "SCMP_ACT_ALLOW", includes: admin },
    { names: administrative, action: "SCMP_ACT_ERRNO", errnoRet: EPERM, excludes: admin },
    { names: never, action: "SCMP_ACT_ERRNO", errnoRet: EPERM },
    ...single.flatMap(({ name, capability }) => perCapability(name, capability)),
    ...cloneRules(),
  ];
  return JSON.stringify({ ...profile, syscalls: rules });
}

function perCapability(name: string, capability: string): Rule[] {
  const filter = { caps: [capability] };
  return [
    { names: [name], action: "SCMP_ACT_ALLOW", includes: filter },
    { names: [name], action: "SCMP_ACT_ERRNO", errnoRet: EPERM, excludes: filter },
  ];
}

/** Without CAP_SYS_ADMIN: threads and processes yes, namespaces no; clone3 hides its flags in memory. */
function cloneRules(): Rule[] {
  const masked = (mask: number, value: number) => {
    return [{ index: 0, value: mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" }];
  };
  const plain = { names: ["clone"], action: "SCMP_ACT_ALLOW", excludes: admin };
  const refused = { names: ["clone"], action: "SCMP_ACT_ERRNO", errnoRet: EPERM, excludes: admin };
  return [
    { ...plain, args: masked(allNamespaceFlags, 0) },
    ...namespaceFlags.map((flag) => ({ ...refused, args: masked(flag, flag) })),
    { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS, excludes: admin },
  ];
}
