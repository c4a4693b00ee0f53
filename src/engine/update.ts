import { Failure } from "../base/mod.ts";
import type { Core } from "./core.ts";
import { type PortChange, publishNow } from "./publish.ts";
import { canWeighBlockIO, noWeights, resources } from "./resources.ts";
import { parseRestartPolicy } from "./restart-policy.ts";
import type { HostConfig, ResourceRequest, RestartPolicy } from "./types.ts";
import { verifyResources } from "./verify.ts";

type Request = Partial<ResourceRequest> & PortChange & { readonly RestartPolicy?: RestartPolicy };

/** As `Engine.update`: what is 0, empty or null in the request stays as it is. */
export async function update(core: Core, id: string, request: Request): Promise<string[]> {
  return await core.locks.run(id, async () => {
    const container = core.records.get(id);
    if (core.removing.has(id)) {
      throw new Failure("conflict", `Cannot update container ${id}: it is marked for removal`);
    }
    const { PublishAdd, PublishRemove, ...rest } = request;
    const isPublishing = PublishAdd !== undefined || PublishRemove !== undefined;
    const limits = canWeighBlockIO() ? rest : { ...rest, BlkioWeight: 0 };
    const merged = merge(container.hostConfig, limits);
    verifyResources(merged);
    const undo = isPublishing ? await publishNow(core, container, request) : undefined;
    try {
      // The runtime first: what the kernel refused is not written down.
      if (core.live.has(id)) await core.runtime.update(id, await resources(merged));
    } catch (error) {
      await undo?.();
      throw error;
    }
    const { PortBindings, PublishAllPorts } = core.records.get(id).hostConfig;
    const hostConfig = { ...merged, PortBindings, PublishAllPorts };
    core.events.container(core.records.change(id, { hostConfig }), "update");
    const asksWeight = (request.BlkioWeight ?? 0) !== 0 && !canWeighBlockIO();
    return asksWeight ? [noWeights] : [];
  });
}

function merge(old: HostConfig, request: Request): HostConfig {
  const { RestartPolicy: policy, ...rest } = request;
  const said = Object.entries(rest).filter(([, value]) => {
    const isEmptyList = Array.isArray(value) && value.length === 0;
    return !isEmptyList && value !== 0 && value !== "" && value !== null && value !== undefined;
  });
  const asked: Partial<ResourceRequest> = Object.fromEntries(said);
  const { Memory: memory = 0, MemorySwap: swap = 0 } = asked;
  if (memory > 0 && swap === 0 && old.MemorySwap > 0 && memory > old.MemorySwap) {
    throw new Failure(
      "conflict",
      "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at " +
        "the same time",
    );
  }
  if (asked.NanoCpus && (old.CpuPeriod > 0 || old.CpuQuota > 0)) {
    const what = old.CpuPeriod > 0 ? "CPU Period" : "CPU Quota";
    throw new Failure(
      "conflict",
      `Conflicting options: Nano CPUs cannot be updated as ${what} is set`,
    );
  }
  if (!policy?.Name) return { ...old, ...asked };
  parseRestartPolicy(policy);
  if (old.AutoRemove && policy.Name !== "no") {
    throw new Failure(
      "conflict",
      "Restart policy cannot be updated because AutoRemove is enabled for the container",
    );
  }
  return { ...old, ...asked, RestartPolicy: policy };
}
