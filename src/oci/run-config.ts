import type { Healthcheck, RunConfig } from "./types.ts";

/**
 * What a container starts with: an image's config with what its maker asked for on top, by Docker's
 * rules. Ports, volumes, labels and variables are joined, the asked-for winning; an entrypoint that is
 * asked for takes the image's command away with it; the triggers of ONBUILD are not passed on.
 */
export function mergeRunConfig(image: RunConfig, asked: RunConfig): RunConfig {
  const { OnBuild: _triggers, ...inherited } = image;
  const healthcheck = mergeHealthcheck(image.Healthcheck, asked.Healthcheck);
  const merged: RunConfig = {
    ...inherited,
    ...present(asked),
    ...joined("ExposedPorts", image.ExposedPorts, asked.ExposedPorts),
    ...joined("Volumes", image.Volumes, asked.Volumes),
    ...joined("Labels", image.Labels, asked.Labels),
    ...mergeCommand(image, asked),
    Env: mergeEnv(image.Env ?? [], asked.Env ?? []),
    ...(healthcheck ? { Healthcheck: healthcheck } : {}),
  };
  return merged;
}

/** The fields that say something: not absent, null, "" or an empty list. */
function present(config: RunConfig): RunConfig {
  const says = (value: unknown) =>
    value !== undefined && value !== null && value !== "" && !isEmptyList(value);
  return Object.fromEntries(Object.entries(config).filter(([, value]) => says(value)));
}

const isEmptyList = (value: unknown) => Array.isArray(value) && value.length === 0;

function joined<Value>(
  name: string,
  image: Readonly<Record<string, Value>> | null | undefined,
  asked: Readonly<Record<string, Value>> | null | undefined,
): Record<string, Record<string, Value>> {
  return image || asked ? { [name]: { ...image, ...asked } } : {};
}

function mergeCommand(image: RunConfig, asked: RunConfig): Pick<RunConfig, "Entrypoint" | "Cmd"> {
  const askedCommand = asked.Cmd ?? [];
  if ((asked.Entrypoint ?? []).length > 0) {
    return { Entrypoint: asked.Entrypoint!, Cmd: askedCommand.length > 0 ? askedCommand : null };
  }
  return {
    // An empty list, unlike null, asks for no entrypoint.
    Entrypoint: asked.Entrypoint ?? image.Entrypoint ?? null,
    Cmd: askedCommand.length > 0 ? askedCommand : (image.Cmd ?? null),
  };
}

/** The asked-for variables in their order, then those of the image that they do not name. */
export function mergeEnv(image: readonly string[], asked: readonly string[]): string[] {
  const nameOf = (entry: string) => entry.split("=", 1)[0];
  const names = new Set(asked.map(nameOf));
  return [...asked, ...image.filter((entry) => !names.has(nameOf(entry)))];
}

function mergeHealthcheck(
  image: Healthcheck | null | undefined,
  asked: Healthcheck | null | undefined,
): Healthcheck | undefined {
  if (!asked || !image) return asked ?? image ?? undefined;
  const says = Object.entries(asked).filter(([, value]) => value && !isEmptyList(value));
  return { ...image, ...Object.fromEntries(says) };
}
