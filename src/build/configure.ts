import { posix } from "node:path";
import { Failure, limits } from "../base/mod.ts";
import { formatDuration } from "./durations.ts";
import { expand } from "./expand.ts";
import type { Action, Command, HealthFlags } from "./instruction.ts";
import { lookupIn, type StageState, shellOf, workdirOf } from "./state.ts";
import { setEnvironment, setLabel, sizesOf } from "./variables.ts";

export interface ConfigureOptions {
  readonly escape: string;
  readonly buildArgs: Readonly<Record<string, string | null>>;
  readonly globalArgs: ReadonlyMap<string, string>;
  readonly platformArgs: Readonly<Record<string, string>>;
}

/** Actions that change the image's config and no file. */
export type ConfigAction = Exclude<Action, { kind: "from" | "run" | "copy" | "workdir" }>;

/**
 * Applies an instruction to the config and gives its line in the history.
 * @throws Failure "invalid" — an expansion failed, or a value makes no sense
 */
export function configure(
  state: StageState,
  action: ConfigAction,
  options: ConfigureOptions,
): string {
  const line = change(state, action, options);
  checkSize(state);
  return line;
}

/** Ports, labels, variables and volumes of one image: what a config may have of each. */
const fieldsMax = 10_000;
/** All variables of a stage and its labels, characters. */
const textMax = limits.configBytesMax;

/** Each instruction may double what those before it made. @throws Failure "exhausted" */
function checkSize(state: StageState): void {
  const { config, args } = state;
  const sizes = sizesOf(state);
  const maps = [config.ExposedPorts ?? {}, config.Volumes ?? {}];
  const counts = [...maps.map((map) => Object.keys(map).length), ...sizes.counts, args.size];
  let { length } = sizes;
  for (const text of args.values()) length += text?.length ?? 0;
  if (length > textMax || Math.max(...counts) > 2 * fieldsMax) {
    throw new Failure("exhausted", "the image's config grows too large");
  }
}

function change(state: StageState, action: ConfigAction, options: ConfigureOptions): string {
  switch (action.kind) {
    case "env":
      return setPairs(state, action, options);
    case "label":
      return setPairs(state, action, options);
    case "arg":
      return declareArgs(state, action.args, options);
    case "cmd":
      state.config.Cmd = argvOf(state, action.command);
      state.hasCommand = true;
      return `CMD ${quoteList(state.config.Cmd)}`;
    case "entrypoint":
      state.config.Entrypoint = argvOf(state, action.command);
      if (!state.hasCommand) delete state.config.Cmd;
      return `ENTRYPOINT ${quoteList(state.config.Entrypoint)}`;
    case "expose":
      return expose(state, action.words, options);
    case "volume":
      return addVolumes(state, action.words, options);
    case "user":
      return setUser(state, action.word, options);
    case "stopsignal":
      return setStopSignal(state, action.word, options);
    case "shell":
      state.config.Shell = action.args;
      return `SHELL [${action.args.join(" ")}]`;
    case "maintainer":
      state.author = action.name;
      return `MAINTAINER ${action.name}`;
    case "onbuild":
      state.config.OnBuild = [...(state.config.OnBuild ?? []), action.trigger];
      return `ONBUILD ${action.trigger}`;
    case "healthcheck":
      return setHealthcheck(state, action);
  }
}

/** One word with its variables expanded and its quotes taken away. */
export function word(state: StageState, text: string, options: ConfigureOptions): string {
  return expand(text, { escape: options.escape, lookup: lookupIn(state) }).text;
}

function words(state: StageState, texts: readonly string[], options: ConfigureOptions): string[] {
  const lookup = lookupIn(state);
  return texts.flatMap((text) => expand(text, { escape: options.escape, lookup }).words);
}

function setPairs(
  state: StageState,
  action: Extract<Action, { kind: "env" | "label" }>,
  options: ConfigureOptions,
): string {
  if (action.pairs.length > fieldsMax) {
    throw new Failure("exhausted", `${action.kind.toUpperCase()} names too many`);
  }
  // All values see the variables as they were before the instruction.
  const pairs = action.pairs.map(({ name, value }) => {
    return [word(state, name, options), word(state, value, options)] as const;
  });
  if (pairs.some(([name]) => name === "")) {
    throw new Failure("invalid", `${action.kind.toUpperCase()} names can not be blank`);
  }
  const set = action.kind === "env" ? setEnvironment : setLabel;
  for (const [name, value] of pairs) set(state, name, value);
  const text = pairs.map(([name, value]) => `${name}=${value}`).join(" ");
  return `${action.kind.toUpperCase()} ${text}`;
}

/**
 * Proxies that every RUN sees when `--build-arg` gives them; in history and cache keys only when an ARG
 * declares them.
 */
export const proxyArgs = [
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "FTP_PROXY",
  "NO_PROXY",
  "ALL_PROXY",
].flatMap((name) => [name, name.toLowerCase()]);

function declareArgs(
  state: StageState,
  args: readonly { name: string; value?: string }[],
  options: ConfigureOptions,
): string {
  const texts = args.map(({ name: written, value }) => {
    const name = word(state, written, options);
    const given = options.buildArgs[name];
    const inherited = options.globalArgs.get(name) ?? options.platformArgs[name];
    const own = value === undefined ? inherited : word(state, value, options);
    const final = typeof given === "string" ? given : own;
    // ARG again without a value keeps what an earlier ARG gave.
    if (final !== undefined || !state.args.has(name)) state.args.set(name, final);
    return final === undefined ? name : `${name}=${final}`;
  });
  return `ARG ${texts.join(" ")}`;
}

/** The argument list of a command; the shell form goes to the stage's shell. */
export function argvOf(state: StageState, command: Command): readonly string[] {
  if (command.form === "exec") return command.args;
  return [...shellOf(state), command.text];
}

function expose(state: StageState, texts: readonly string[], options: ConfigureOptions): string {
  const ports: string[] = [];
  for (const text of words(state, texts, options)) {
    ports.push(...readPorts(text));
    if (ports.length > fieldsMax) throw new Failure("exhausted", "EXPOSE names too many ports");
  }
  const all = { ...state.config.ExposedPorts };
  for (const port of ports) all[port] = {};
  const sorted = Object.keys(all).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  state.config.ExposedPorts = Object.fromEntries(sorted.map((port) => [port, {}]));
  return `EXPOSE [${ports.join(" ")}]`;
}

/** `80`, `80/udp`, `8000-8003/tcp`; a host part before a colon is accepted and means nothing here. */
function readPorts(text: string): string[] {
  const [range = "", protocol = "tcp"] = text.split(":").at(-1)!.split("/");
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (!(from >= 1 && to >= from && to <= 65535)) {
    throw new Failure("invalid", `invalid containerPort: ${range}`, {
      hint: "A port is a number from 1 to 65535, or a range like 8000-8010",
    });
  }
  if (!["tcp", "udp", "sctp"].includes(protocol.toLowerCase())) {
    throw new Failure("invalid", `invalid proto: ${protocol}`, { hint: "It is tcp, udp or sctp" });
  }
  const numbers = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return numbers.map((port) => `${port}/${protocol.toLowerCase()}`);
}

function addVolumes(
  state: StageState,
  texts: readonly string[],
  options: ConfigureOptions,
): string {
  const paths = texts.map((text) => word(state, text, options));
  if (paths.includes("")) {
    throw new Failure("invalid", "VOLUME specified can not be an empty string");
  }
  const added = Object.fromEntries(paths.map((path) => [path, {}]));
  state.config.Volumes = { ...state.config.Volumes, ...added };
  return `VOLUME [${paths.join(" ")}]`;
}

function setUser(state: StageState, text: string, options: ConfigureOptions): string {
  state.config.User = word(state, text, options);
  return `USER ${state.config.User}`;
}

const signals =
  `ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP
SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ`.split(/\s+/);

function setStopSignal(state: StageState, text: string, options: ConfigureOptions): string {
  const signal = word(state, text, options);
  const name = signal.toUpperCase().replace(/^SIG/, "");
  const isNumber = /^\d+$/.test(signal) && Number(signal) >= 1 && Number(signal) <= 64;
  if (!isNumber && !signals.includes(name) && !/^RTM(IN|AX)([+-]\d+)?$/.test(name)) {
    throw new Failure("invalid", `invalid signal: ${signal}`);
  }
  state.config.StopSignal = signal;
  return `STOPSIGNAL ${signal}`;
}

function setHealthcheck(
  state: StageState,
  { command, flags }: { command?: Command; flags: HealthFlags },
): string {
  if (!command) {
    state.config.Healthcheck = { Test: ["NONE"] };
    return 'HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" \'\\x00\'}';
  }
  const test = command.form === "exec" ? ["CMD", ...command.args] : ["CMD-SHELL", command.text];
  state.config.Healthcheck = { Test: test, ...flags };
  const times = [flags.Interval, flags.Timeout, flags.StartPeriod, flags.StartInterval];
  const shown = times.map((time) => JSON.stringify(formatDuration(time ?? 0))).join(" ");
  return `HEALTHCHECK &{${quoteList(test)} ${shown} '${retriesRune(flags.Retries ?? 0)}'}`;
}

/** Docker prints the number of retries as Go quotes a character; readers of histories expect it. */
function retriesRune(retries: number): string {
  return `\\x${retries.toString(16).padStart(2, "0")}`;
}

/** Go's `%q` of a list: `["a" "b"]`. */
export function quoteList(items: readonly string[]): string {
  return `[${items.map((item) => JSON.stringify(item)).join(" ")}]`;
}

/** Where a WORKDIR leads: relative ones from the current one. Absolute, without ".." */
export function resolveWorkdir(state: StageState, path: string): string {
  const joined = posix.resolve("/", workdirOf(state), path);
  return joined === "" ? "/" : joined;
}
