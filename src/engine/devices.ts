import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { Failure } from "../base/mod.ts";
import type { Device, DeviceRule } from "../runtime/mod.ts";
import type { ResourceRequest } from "./types.ts";

type Request = NonNullable<ResourceRequest["Devices"]>[number];

const devicesMax = 4_096;

/** Makes the devices of `--device`, with the cgroup rules that open them. @throws "invalid" */
export async function gatherDevices(
  requests: readonly Request[] | null,
): Promise<{ devices: Device[]; rules: DeviceRule[] }> {
  const devices: Device[] = [];
  const rules: DeviceRule[] = [];
  for (const { PathOnHost, PathInContainer, CgroupPermissions } of requests ?? []) {
    const access = CgroupPermissions || "rwm";
    const found = await devicesAt(PathOnHost, PathInContainer || PathOnHost);
    if (found.length === 0) throw refused(PathOnHost, "not a device node");
    devices.push(...found);
    rules.push(...found.map((device) => ruleOf(device, access)));
    if (devices.length > devicesMax) throw refused(PathOnHost, "too many devices");
  }
  return { devices, rules };
}

function ruleOf({ type, major, minor }: Device, access: string): DeviceRule {
  return { allow: true, type: type === "b" ? "b" : "c", major, minor, access };
}

/** The device at a path, or those in a directory. */
async function devicesAt(source: string, target: string): Promise<Device[]> {
  try {
    const path = await realpath(source);
    const status = await lstat(path);
    if (!status.isDirectory()) return deviceOf(status, target);
    const names = await readdir(path);
    const found = await Promise.all(
      names.map(async (name) => {
        const inner = await lstat(`${path}/${name}`).catch(() => undefined); // gone meanwhile
        if (!inner) return [];
        return inner.isDirectory()
          ? await devicesAt(`${path}/${name}`, `${target}/${name}`).catch(() => [])
          : deviceOf(inner, `${target}/${name}`);
      }),
    );
    return found.flat();
  } catch (cause) {
    const isAbsent = (cause as { code?: string }).code === "ENOENT";
    throw refused(source, isAbsent ? "no such file or directory" : String(cause));
  }
}

function deviceOf(status: Stats, path: string): Device[] {
  if (!status.isBlockDevice() && !status.isCharacterDevice()) return [];
  const { mode, uid, gid } = status;
  const type = status.isBlockDevice() ? "b" : "c";
  return [{ path, type, ...numbersOf(status.rdev), fileMode: mode & 0o7777, uid, gid }];
}

/** Splits a dev_t as glibc's gnu_dev_major and gnu_dev_minor do. */
function numbersOf(rdev: number): { major: number; minor: number } {
  const dev = BigInt(rdev);
  return {
    major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)),
  };
}

/** `c 1:3 rwm` of `--device-cgroup-rule`. @throws "invalid" */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text);
  if (!match) throw new Failure("invalid", `invalid device cgroup rule format: '${text}'`);
  const [, type, major, minor, access] = match;
  return {
    allow: true,
    type: type as DeviceRule["type"],
    access: access!,
    ...(major === "*" ? {} : { major: Number(major) }),
    ...(minor === "*" ? {} : { minor: Number(minor) }),
  };
}

/** `linux.resources.blockIO`: weights and throttles, with paths as device numbers. */
export async function throttles(
  asked: ResourceRequest,
): Promise<Record<string, unknown> | undefined> {
  const rates = async (list: ResourceRequest["BlkioDeviceReadBps"]) =>
    await Promise.all(
      (list ?? []).map(async ({ Path, Rate }) => ({ ...(await blockNumbers(Path)), rate: Rate })),
    );
  const io: Record<string, unknown> = {};
  if (asked.BlkioWeight > 0) io["weight"] = asked.BlkioWeight;
  const lists = {
    weightDevice: await Promise.all(
      (asked.BlkioWeightDevice ?? []).map(async ({ Path, Weight }) => ({
        ...(await blockNumbers(Path)),
        weight: Weight,
      })),
    ),
    throttleReadBpsDevice: await rates(asked.BlkioDeviceReadBps),
    throttleWriteBpsDevice: await rates(asked.BlkioDeviceWriteBps),
    throttleReadIOPSDevice: await rates(asked.BlkioDeviceReadIOps),
    throttleWriteIOPSDevice: await rates(asked.BlkioDeviceWriteIOps),
  };
  for (const [key, list] of Object.entries(lists)) if (list.length > 0) io[key] = list;
  return Object.keys(io).length > 0 ? io : undefined;
}

async function blockNumbers(path: string): Promise<{ major: number; minor: number }> {
  try {
    const status = await stat(path);
    if (status.isBlockDevice()) return numbersOf(status.rdev);
  } catch (cause) {
    throw new Failure("invalid", `Cannot limit device "${path}": it is absent`, { cause });
  }
  throw new Failure("invalid", `Cannot limit device "${path}": it is not a block device`);
}

function refused(path: string, why: string): Failure {
  return new Failure(
    "invalid",
    `error gathering device information while adding custom device "${path}": ${why}`,
  );
}
