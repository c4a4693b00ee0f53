import { appendFile, copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { posix } from "node:path";
import { Failure } from "../base/mod.ts";
import { type NetworkStore, parseExtraHost, type Sandbox } from "../network/mod.ts";
import {
  type BundleSpec,
  capabilities,
  defaultCapabilities,
  defaultMaskedPaths,
  defaultReadonlyPaths,
  type OwnNamespaces,
  resolveUser,
} from "../runtime/mod.ts";
import type { Mount } from "../sys/mod.ts";
import { defaultPath } from "./base-image.ts";
import { proxyArgs } from "./configure.ts";
import { foreignFailure } from "./emulator.ts";
import type { Listener } from "./flight.ts";
import type { Action, Command } from "./instruction.ts";
import type { LayerWork } from "./layer-step.ts";
import { chomped, heredocWord } from "./lines.ts";
import { runResources, runRlimits, runSecurity } from "./run-limits.ts";
import { bind, type PlannedMount, planMounts, shownTo } from "./run-mounts.ts";
import { defaultHostname, type Sandboxing, sandboxOf } from "./sandbox.ts";
import type { StepScope } from "./scope.ts";
import { CommandFailure } from "./source.ts";
import { keyOf, type StageState, shellOf, workdirOf } from "./state.ts";
import { commitStep, newId, openScratch, type Scratch } from "./tools.ts";
import type { BuildRequest } from "./types.ts";
import { environmentOf } from "./variables.ts";

type RunAction = Extract<Action, { kind: "run" }>;

/** A script of a heredoc with `#!`: it is mounted, not written to the image. */
interface Script {
  readonly path: string;
  readonly content: string;
}

/** Plans a RUN: what it depends on, and how to do it. */
export async function runStep(action: RunAction, scope: StepScope): Promise<LayerWork> {
  const { state, build } = scope;
  const { request } = build;
  const { argv, script } = commandOf(state, action.command);
  const sandbox = await sandboxOf(action, scope);
  const { network } = sandbox;
  const mounts = await planMounts(action.mounts, scope);
  const args = [...state.args].flatMap(([name, value]) => {
    return value === undefined ? [] : [`${name}=${value}`];
  });
  const { User: user = "", Env: env = [] } = state.config;
  const inputs = {
    argv,
    script: script?.content ?? "",
    ENV: env,
    ARG: args,
    user,
    workdir: workdirOf(state),
    network,
    ...(sandbox.isInsecure ? { security: "insecure" } : {}),
    ...(sandbox.devices.length > 0 ? { devices: action.devices } : {}),
    ...(sandbox.hostname === defaultHostname ? {} : { hostname: sandbox.hostname }),
    hosts: request.extraHosts,
    mounts: mounts.map((mount) => mount.key),
    content: Object.fromEntries(mounts.flatMap(({ content }) => (content ? [content] : []))),
    platform: state.platform,
  };
  const key = keyOf(state.key, "run", inputs);
  const prefix = args.length === 0 ? "" : `|${args.length} ${args.join(" ")} `;
  const history = `RUN ${prefix}${argv.join(" ")} # buildkit`;
  const run = { argv, args, script, sandbox, mounts };
  return { key, inputs, history, make: async (tell) => await execute(run, { scope, tell }) };
}

interface Run {
  readonly argv: readonly string[];
  readonly args: readonly string[];
  readonly script: Script | undefined;
  readonly sandbox: Sandboxing;
  readonly mounts: readonly PlannedMount[];
}

/** The argument list, heredocs folded in, as the shell is to see it. */
function commandOf(
  state: StageState,
  command: Command,
): { argv: readonly string[]; script: Script | undefined } {
  if (command.form === "exec") return { argv: command.args, script: undefined };
  const [first] = command.heredocs;
  if (!first) return { argv: [...shellOf(state), command.text], script: undefined };
  if (heredocWord(command.text) === undefined) {
    // More than the document alone: the shell gets it as it stands and does the rest.
    const documents = command.heredocs.map(({ content, name }) => `\n${content}${name}`);
    return { argv: [...shellOf(state), command.text + documents.join("")], script: undefined };
  }
  const content = chomped(first);
  if (!content.startsWith("#!")) return { argv: [...shellOf(state), content], script: undefined };
  const path = `/dev/pipes/${first.name}`;
  return { argv: [path], script: { path, content } };
}

/** Runs the command in a snapshot of its own and turns what it wrote into a layer. */
async function execute(run: Run, { scope, tell }: { scope: StepScope; tell: Listener }) {
  const { build, state } = scope;
  const { tools } = build;
  const id = newId();
  await using cleanup = new AsyncDisposableStack();
  // What may reach all of the host is not in a namespace of its own.
  const { isInsecure, network } = run.sandbox;
  const remap = isInsecure || network === "host" ? undefined : await tools.remap();
  const users = remap && cleanup.use(await remap.take());
  const owners = users?.map;
  const [opened, joined] = await Promise.allSettled([
    openScratch(tools, state.layers, { id, owners }),
    openNetwork(network, { id, scope, users }),
  ]);
  if (joined.status === "fulfilled") cleanup.defer(async () => await tools.networks.close(id));
  if (opened.status === "rejected") throw opened.reason;
  const scratch = cleanup.use(opened.value);
  if (joined.status === "rejected") throw joined.reason;
  const mounts = [
    ...joined.value.mounts,
    ...(await scriptMount(run.script, { id, scope, cleanup })),
  ];
  const { devices } = run.sandbox;
  const env = devices.flatMap((device) => device.env);
  for (const planned of run.mounts) {
    const ready = await planned.open({ cleanup, root: scratch.root, owners });
    mounts.push(...ready.mounts);
    env.push(...(ready.env ?? []));
  }
  mounts.splice(0, mounts.length, ...mounts.map((mount) => shownTo(mount, owners)));
  mounts.push(...devices.flatMap((device) => device.mounts));
  const { netns } = joined.value;
  const spec = bundle(run, { id, scope, scratch, mounts, env, netns, users });
  await carryOut(spec, { scope, tell, words: run.argv });
  // What the runtime made to mount on is not the user's.
  const mountPoints = [...mounts.map(({ target }) => target), "/proc", "/sys", "/dev"];
  const layer = await commitStep(tools, scratch, { timeMax: state.timeMax, mountPoints });
  return layer.diffId;
}

async function scriptMount(
  script: Script | undefined,
  { id, scope, cleanup }: { id: string; scope: StepScope; cleanup: AsyncDisposableStack },
): Promise<Mount[]> {
  if (!script) return [];
  const folder = `${scope.build.tools.directory}/work/${id}`;
  await mkdir(folder, { recursive: true });
  cleanup.defer(async () => await rm(folder, { recursive: true, force: true }));
  await writeFile(`${folder}/script`, script.content, { mode: 0o755 });
  return [bind(`${folder}/script`, script.path, ["ro"])];
}

async function openNetwork(
  how: Sandboxing["network"],
  { id, scope, users }: { id: string; scope: StepScope; users: OwnNamespaces | undefined },
): Promise<{ netns: string | undefined; mounts: Mount[] }> {
  const { networks } = scope.build.tools;
  const files: Pick<Sandbox, "hostsPath" | "resolvConfPath"> & Partial<Sandbox> =
    how === "host"
      ? await networks.files(hostSandbox(id))
      : how === "default" || how === "none"
        ? await networks.openForBuild(id, how, users && (() => users.takeNetwork()))
        : await joinContainer(networks, { id, users, donor: how.slice("container:".length) });
  const lines = scope.build.request.extraHosts.map((entry) => {
    const [name, address] = parseExtraHost(entry);
    const addresses = address === "host-gateway" ? networks.hostGateways() : [address];
    return addresses.map((one) => `${one}\t${name}\n`).join("");
  });
  if (lines.length > 0) await appendFile(files.hostsPath, lines.join(""));
  return {
    netns: files.netnsPath,
    mounts: [
      bind(files.hostsPath, "/etc/hosts", []),
      bind(files.resolvConfPath, "/etc/resolv.conf", []),
    ],
  };
}

/** A container's network, and its files as they are now: what a step writes into them stays its own. */
async function joinContainer(
  networks: NetworkStore,
  { id, users, donor }: { id: string; users: OwnNamespaces | undefined; donor: string },
) {
  if (users) {
    const why = "steps of a build have users of their own here, and so has the container";
    throw new Failure("unsupported", `Cannot build on the network of a container: ${why}`);
  }
  const place = networks.sandbox(donor);
  if (!place) {
    const name = donor.slice(0, 12);
    throw new Failure("conflict", `cannot join network of a non running container: ${name}`);
  }
  const files = await networks.files(hostSandbox(id));
  await copyFile(place.hostsPath, files.hostsPath);
  await copyFile(place.resolvConfPath, files.resolvConfPath);
  return { ...files, netnsPath: place.netnsPath };
}

function hostSandbox(id: string) {
  return {
    containerId: id,
    containerName: `build-${id.slice(0, 12)}`,
    hostname: defaultHostname,
    domainname: "",
    endpoints: [{ network: "host" }],
    ports: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    sysctl: {},
  };
}

interface Sandboxed {
  readonly id: string;
  readonly scope: StepScope;
  readonly scratch: Scratch;
  readonly mounts: readonly Mount[];
  readonly env: readonly string[];
  readonly netns: string | undefined;
  readonly users: OwnNamespaces | undefined;
}

function bundle(run: Run, sandboxed: Sandboxed): BundleSpec {
  const { id, scope, scratch, mounts, env, netns, users } = sandboxed;
  const { state, build } = scope;
  const { request } = build;
  const { isInsecure, devices, hostname } = run.sandbox;
  const { home, ...user } = resolveUser(scratch.root, state.config.User ?? "");
  const { seccomp, ...security } = runSecurity(request);
  const rules = devices.flatMap((device) => device.rules);
  return {
    id,
    rootfs: scratch.root,
    readonlyRootfs: false,
    process: {
      args: run.argv,
      env: environment(state, [...proxiesOf(request), ...run.args, ...env], home),
      cwd: workdirOf(state),
      user,
      terminal: false,
      capabilities: isInsecure
        ? capabilities({ add: null, drop: null, privileged: true })
        : defaultCapabilities,
      rlimits: runRlimits(request),
      ...security,
    },
    hostname,
    mounts: [...mounts].sort((a, b) => depth(a.target) - depth(b.target)),
    shmSizeBytes: request.shmSizeBytes || 64 << 20,
    namespaces: {
      network: netns === undefined ? "host" : { path: netns },
      pid: "private",
      ipc: "private",
      uts: "private",
      cgroup: "private",
    },
    userNamespace: users && { path: users.userPath, map: users.map },
    cgroupParent: request.limits?.cgroupParent ?? "",
    resources: { ...runResources(request), ...(rules.length > 0 ? { devices: rules } : {}) },
    devices: devices.flatMap((device) => device.devices),
    privileged: isInsecure,
    seccomp: isInsecure ? "unconfined" : seccomp,
    maskedPaths: isInsecure ? [] : defaultMaskedPaths,
    readonlyPaths: isInsecure ? [] : defaultReadonlyPaths,
    sysctl: {},
    init: false,
  };
}

function proxiesOf({ buildArgs }: BuildRequest): string[] {
  return proxyArgs.flatMap((name) => {
    const value = buildArgs[name];
    return typeof value === "string" ? [`${name}=${value}`] : [];
  });
}

const depth = (path: string) => posix.normalize(path).split("/").length;

/** ENV wins over what comes from the build; PATH and HOME have defaults. */
function environment(state: StageState, extra: readonly string[], home: string): string[] {
  const given = extra.map((entry) => {
    const equals = entry.indexOf("=");
    return [entry.slice(0, equals), entry.slice(equals + 1)] as const;
  });
  // Compilers and packers that would write the time down take this one.
  const epoch =
    state.timeMax === undefined ? [] : [["SOURCE_DATE_EPOCH", `${state.timeMax}`] as const];
  const all = new Map([
    ["PATH", defaultPath],
    ["HOME", home],
    ...epoch,
    ...given,
    ...environmentOf(state),
  ]);
  return [...all].map(([name, value]) => `${name}=${value}`);
}

/** Starts the process, passes its output on, and ends it when the build ends. */
async function carryOut(
  spec: BundleSpec,
  { scope, tell, words }: { scope: StepScope; tell: Listener; words: readonly string[] },
): Promise<void> {
  const { runtime } = scope.build.tools;
  const { signal } = scope.build;
  try {
    const process = await runtime.start(spec, { stdin: false, logging: { kind: "none" } });
    const kill = () => process.signal(9);
    signal.addEventListener("abort", kill);
    if (signal.aborted) kill();
    try {
      const query = { stdout: true, stderr: true, from: "start", follow: true } as const;
      let last = "";
      for await (const { stream, bytes } of process.read(query)) {
        tell(stream, bytes);
        last = Buffer.from(bytes.subarray(-200)).toString();
      }
      const { exitCode, oomKilled } = await process.exited;
      if (exitCode === 0) return;
      // crun's words, when the kernel does not know the program's format.
      const foreign = /exec format error\s*$/i.test(last) && foreignFailure(scope.state.platform);
      throw foreign || failed(words, exitCode, oomKilled);
    } finally {
      signal.removeEventListener("abort", kill);
    }
  } catch (error) {
    // The program is not there, or not executable: for the user that is an exit code.
    if (error instanceof Failure && (error.code === "not_found" || error.code === "denied")) {
      tell(2, Buffer.from(`${error.message}\n`));
      throw failed(words, error.code === "not_found" ? 127 : 126, false);
    }
    throw error;
  } finally {
    await runtime.remove(spec.id);
  }
}

function failed(words: readonly string[], exitCode: number, oomKilled: boolean): Failure {
  const text = `The command '${words.join(" ")}' returned a non-zero code: ${exitCode}`;
  const hint = "It ran out of memory: raise --memory";
  return new CommandFailure(text, exitCode, oomKilled ? { hint } : {});
}
