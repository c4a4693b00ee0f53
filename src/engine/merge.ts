import type { RunConfig } from "../oci/mod.ts";

/** What a container is asked to be, with what its image says where nothing was asked. */
export function mergeRunConfig<T extends RunConfig>(image: RunConfig, asked: T): T {
  const isCommandAsked = (asked.Entrypoint ?? []).length > 0;
  const cmd = asked.Cmd?.length ? asked.Cmd : isCommandAsked ? asked.Cmd : image.Cmd;
  return {
    ...asked,
    User: asked.User || (image.User ?? ""),
    ExposedPorts: { ...image.ExposedPorts, ...asked.ExposedPorts },
    Volumes: { ...image.Volumes, ...asked.Volumes },
    Labels: { ...image.Labels, ...asked.Labels },
    Env: mergeEnv(image.Env ?? [], asked.Env ?? []),
    Cmd: cmd ?? null,
    Entrypoint: isCommandAsked ? asked.Entrypoint : (image.Entrypoint ?? null),
    WorkingDir: asked.WorkingDir || (image.WorkingDir ?? ""),
  };
}

function mergeEnv(image: readonly string[], asked: readonly string[]): string[] {
  const nameOf = (entry: string) => entry.split("=", 1)[0]!;
  const names = new Set(asked.map(nameOf));
  return [...asked, ...image.filter((entry) => !names.has(nameOf(entry)))];
}
