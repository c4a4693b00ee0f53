import { Failure } from "../base/mod.ts";
import { type DeviceEdits, findDevices, listDevices } from "../runtime/mod.ts";
import type { ResourceRequest } from "./types.ts";

type Request = NonNullable<ResourceRequest["DeviceRequests"]>[number];

const requestsMax = 64;
/** What `--gpus` stands for in the Container Device Interface. */
const gpuKind = "nvidia.com/gpu";

/** Whether a request can be answered at all: `--device vendor/class=name` and `--gpus`. @throws "invalid" */
export function checkDeviceRequests(requests: readonly Request[] | null): void {
  if ((requests ?? []).length > requestsMax) {
    throw new Failure("invalid", `Cannot ask for devices over ${requestsMax} times`);
  }
  for (const request of requests ?? []) {
    if (request.Driver === "cdi" || isForGpus(request)) continue;
    throw refused(request);
  }
}

/** What the devices of the requests bring with them. @throws "invalid" — there are none of that name */
export async function findRequested(requests: readonly Request[] | null): Promise<DeviceEdits[]> {
  const names = await Promise.all(
    (requests ?? []).map((request) =>
      request.Driver === "cdi" ? (request.DeviceIDs ?? []) : namesOfGpus(request),
    ),
  );
  const all = [...new Set(names.flat())];
  const found = await Promise.all(all.map(async (name) => await findDevices(name)));
  const absent = all.filter((_, at) => !found[at]);
  if (absent.length > 0) {
    const list = absent.join(", ").slice(0, 500);
    throw new Failure("invalid", `CDI device injection failed: unresolvable CDI devices ${list}`, {
      hint: "Devices are described below /etc/cdi and /var/run/cdi, or where cdi-spec-dirs says",
    });
  }
  return found.flatMap((edits) => edits ?? []);
}

function isForGpus({ Driver, Capabilities }: Request): boolean {
  const isNamed = Driver === undefined || Driver === "" || Driver === "nvidia";
  return isNamed && (Capabilities ?? []).some((set) => set?.includes("gpu"));
}

async function namesOfGpus(request: Request): Promise<string[]> {
  const names = await listDevices(gpuKind);
  if (names.length === 0) throw refused(request);
  const { Count: count = 0, DeviceIDs: ids } = request;
  if (ids && ids.length > 0) return ids.map((id) => `${gpuKind}=${id}`);
  if (count < 0) return names.includes("all") ? [`${gpuKind}=all`] : [`${gpuKind}=*`];
  const numbered = names.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(a) - Number(b));
  if (count <= numbered.length) return numbered.slice(0, count).map((id) => `${gpuKind}=${id}`);
  throw new Failure("invalid", `Cannot give ${count} GPUs: this host has ${numbered.length}`);
}

/** As Docker's engine names it: `"" with capabilities: [[gpu]]`. */
function refused({ Driver = "", Capabilities }: Request): Failure {
  const sets = (Capabilities ?? []).map((set) => `[${(set ?? []).join(" ")}]`);
  const what = `"${Driver}" with capabilities: [${sets.join(" ")}]`.slice(0, 200);
  return new Failure("invalid", `could not select device driver ${what}`, {
    hint: "GPUs are those that a specification of nvidia.com/gpu below /etc/cdi describes",
  });
}
