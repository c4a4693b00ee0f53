/** `RUN --mount=type=secret` and `type=ssh`: what a command may read and nothing keeps. */
import { chmod, chown, writeFile } from "node:fs/promises";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { openMemoryFolder } from "./memory-folder.ts";
import { type Ask, bind, isOn, numberOf, type OpenMount, type PlannedMount } from "./run-mounts.ts";
import { nearest } from "./source.ts";
import { serveAgent } from "./ssh-agent.ts";
import { workdirOf } from "./state.ts";
import { newId } from "./tools.ts";

export function planSecret(ask: Ask): PlannedMount {
  const { options, scope } = ask;
  const id = options["id"] ?? posix.basename(options["target"] ?? "");
  if (id === "")
    throw new Failure("invalid", "a secret mount needs an id", { hint: "Add id=name" });
  const content = scope.build.request.secrets?.get(id);
  const { env } = options;
  const hasTarget = options["target"] !== undefined || env === undefined;
  const target = posix.resolve(workdirOf(scope.state), options["target"] ?? `/run/secrets/${id}`);
  // The value is no part of the key: a new token must not rebuild everything.
  const key = ["secret", id, hasTarget ? target : "", env ?? ""];
  if (!content) {
    if (isOn(options["required"])) {
      const near = nearest(id, [...(scope.build.request.secrets?.keys() ?? [])]);
      const hint = near
        ? `The build was given ${near}: did you mean that?`
        : `Give it with --secret id=${id},src=FILE`;
      throw new Failure("not_found", `secret ${id}: not found`, { hint });
    }
    return { key, open: async () => ({ mounts: [] }) };
  }
  const place = placeOf(ask, 0o400);
  const open = async ({ cleanup }: OpenMount) => {
    const variables = env ? [`${env}=${Buffer.from(content).toString("utf8")}`] : [];
    if (!hasTarget) return { mounts: [], env: variables };
    const folder = cleanup.use(await openPlace(ask));
    const path = `${folder.path}/secret`;
    await writeFile(path, content, { mode: 0o600 });
    await chown(path, place.uid, place.gid);
    await chmod(path, place.mode);
    return { mounts: [bind(path, target, ["ro"])], env: variables };
  };
  return { key, open };
}

/** The `number`th ssh mount of its RUN; the first one is what `SSH_AUTH_SOCK` names. */
export function planSsh(ask: Ask, number: number): PlannedMount {
  const { options, scope } = ask;
  const id = options["id"] || "default";
  const given = options["target"] ?? `/run/buildkit/ssh_agent.${number}`;
  const target = posix.resolve(workdirOf(scope.state), given);
  const key = ["ssh", id, target];
  const agent = scope.build.request.agents?.get(id);
  if (!agent) {
    if (isOn(options["required"])) {
      const hint = `Forward one with --ssh ${id}`;
      throw new Failure("not_found", `ssh agent ${id}: not found`, { hint });
    }
    return { key, open: async () => ({ mounts: [] }) };
  }
  const place = placeOf(ask, 0o600);
  const open = async ({ cleanup }: OpenMount) => {
    const { path: folder } = cleanup.use(await openPlace(ask));
    cleanup.use(await serveAgent(agent, { folder, ...place }));
    const env = number === 0 ? [`SSH_AUTH_SOCK=${target}`] : [];
    return { mounts: [bind(`${folder}/agent`, target, [])], env };
  };
  return { key, open };
}

function placeOf({ options }: Ask, mode: number) {
  return {
    uid: numberOf(options, "uid", 0),
    gid: numberOf(options, "gid", 0),
    mode: numberOf(options, "mode", mode),
  };
}

/** In memory: not even a moment's copy of a secret stands on a disk. */
function openPlace({ scope }: Ask) {
  const { directory } = scope.build.tools;
  return openMemoryFolder(`${directory}/work/${newId()}`, "size=1m,nr_inodes=16,mode=700");
}
