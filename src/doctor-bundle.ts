/** `lading doctor --bundle`: what somebody who helps from afar needs to see, in one archive without secrets. */

import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { connect } from "./api/client.ts";
import { type TarInput, writeTar } from "./archive/mod.ts";
import { toFailure } from "./base/mod.ts";
import { runAny } from "./sys/mod.ts";

const journalLines = 5_000;
const files = ["/etc/lading/daemon.json", "/etc/lading/registries.json"];
const host = ["/proc/mounts", "/proc/meminfo", "/proc/cgroups", "/proc/version", "/etc/os-release"];

/** Writes the archive; nobody but its owner may read it. What cannot be had says why, in its place. */
export async function writeBundle(
  path: string,
  engineHost: string,
  findings: string,
): Promise<void> {
  const entries: [string, string][] = [["doctor.txt", findings]];
  const { system, containers, images, networks, volumes } = connect({ host: engineHost });
  const asked: [string, () => Promise<unknown>][] = [
    ["info", () => system.info()],
    ["version", () => system.version()],
    ["audit", () => system.audit()],
    ["disk", () => system.auditDisk()],
    ["containers", () => containers.list({ all: true })],
    ["images", () => images.list()],
    ["networks", () => networks.list()],
    ["volumes", () => volumes.list()],
  ];
  for (const [name, ask] of asked) {
    entries.push([`${name}.json`, await attempt(async () => maskSecrets(json(await ask())))]);
  }
  for (const file of files) {
    const text = await attempt(async () => maskSecrets(readFileSync(file, "utf8")));
    entries.push([`config${file}`, text]);
  }
  for (const file of host)
    entries.push([`host${file}`, await attempt(async () => readFileSync(file, "utf8"))]);
  entries.push(["journal.txt", await attempt(journal)]);
  await writeEntries(path, entries);
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

async function attempt(make: () => Promise<string>): Promise<string> {
  try {
    return await make();
  } catch (error) {
    return `not to be had: ${toFailure(error).message}\n`;
  }
}

async function journal(): Promise<string> {
  const command = ["journalctl", "-u", "lading", "-n", String(journalLines), "--no-pager"] as const;
  const { stdout, stderr, exitCode } = await runAny(command, { timeoutMs: 30_000 });
  return exitCode === 0 ? maskSecrets(new TextDecoder().decode(stdout)) : stderr;
}

/** Hides passwords in addresses, and the values of what is named as a secret. */
export function maskSecrets(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, "$1***@")
    .replace(
      /("?[\w.-]*(?:password|passwd|secret|token|credential|api[_-]?key|identitytoken)[\w.-]*"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|[^\s,}"]+)/gi,
      '$1"***"',
    );
}

async function writeEntries(path: string, entries: readonly [string, string][]): Promise<void> {
  const inputs = entries.map(([name, text]): TarInput => {
    const body = Buffer.from(text);
    return {
      header: { path: `lading/${name}`, type: "file", mode: 0o600, sizeBytes: body.length },
      body,
    };
  });
  const out = createWriteStream(path, { mode: 0o600, flags: "wx" });
  await once(out, "open");
  for await (const part of writeTar(inputs)) {
    if (!out.write(part)) await once(out, "drain");
  }
  out.end();
  await once(out, "close");
}
