import { Failure } from "../base/mod.ts";
import type { RunConfig } from "../oci/mod.ts";
import { hostPlatform } from "../oci/mod.ts";
import { type ConfigureOptions, configure, resolveWorkdir, word } from "./configure.ts";
import type { Instruction, Kind } from "./instruction.ts";
import { parseDockerfile } from "./parse.ts";
import { keyOf, type StageState } from "./state.ts";

const allowed: readonly Kind[] = [
  "cmd",
  "entrypoint",
  "env",
  "expose",
  "healthcheck",
  "label",
  "onbuild",
  "stopsignal",
  "user",
  "volume",
  "workdir",
];

const options: ConfigureOptions = {
  escape: "\\",
  buildArgs: {},
  globalArgs: new Map(),
  platformArgs: {},
};

/**
 * A config with the Dockerfile instructions of `commit --change` and `import --change` applied; each of
 * `changes` may hold several lines.
 * @throws Failure "invalid" — a mistake, or an instruction that changes files
 */
export function applyChanges(config: RunConfig, changes: readonly string[]): RunConfig {
  const { instructions } = parseDockerfile(changes.join("\n"), "--change");
  const key = keyOf("change");
  const state: StageState = {
    platform: hostPlatform(),
    config: { ...config },
    author: undefined,
    layers: [],
    history: [],
    made: new Map(),
    args: new Map(),
    hasCommand: config.Cmd !== undefined,
    key,
    trail: key,
    createdMs: 0,
    baseMs: 0,
    timeMax: undefined,
  };
  for (const instruction of instructions) apply(state, instruction);
  return state.config;
}

function apply(state: StageState, instruction: Instruction): void {
  if (!allowed.includes(instruction.kind)) {
    const name = /^\S+/.exec(instruction.text)![0].toLowerCase();
    throw new Failure("invalid", `${name} is not a valid change command`, {
      hint: `Valid are ${allowed.join(", ")}`,
    });
  }
  const { kind } = instruction;
  if (kind === "workdir") {
    const path = word(state, instruction.path, options);
    state.config.WorkingDir = resolveWorkdir(state, path);
  } else if (kind !== "from" && kind !== "run" && kind !== "copy") {
    configure(state, instruction, options);
  }
}
