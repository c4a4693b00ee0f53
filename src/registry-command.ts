/** `lading registry`: picks serving, upkeep or work on others. Loads only what was called. */

const usage = `Usage:  lading registry COMMAND

Run a registry, and work on registries

Commands:
  serve       Serve a registry in the foreground
  gc          Remove what nobody needs
  fsck        Compare names with bytes, and repair
  ls          List the repositories of a registry
  tags        List the tags of a repository
  inspect     Show a manifest or index
  copy        Copy an image, all platforms, between registries, layouts, archives and the store
  rm          Remove a tag or a manifest
  log         Show where a tag has been (Lading's registry)
  undo        Move a tag back to where it was (Lading's registry)

Run 'lading registry COMMAND --help' for more information on a command.
`;

/** Runs `lading registry …` and returns the exit code. */
export async function runRegistryCommand(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === "serve") return (await import("./registry-daemon.ts")).runRegistry(rest);
  if (name === "gc" || name === "fsck") {
    return (await import("./registry-upkeep.ts")).runUpkeep(name, rest);
  }
  if (name === "log" || name === "undo") {
    return (await import("./registry-history.ts")).runHistory(name, rest);
  }
  const remote = ["ls", "tags", "inspect", "copy", "rm"] as const;
  const verb = remote.find((each) => each === name);
  if (verb) return (await import("./registry-remote.ts")).runRemote(verb, rest);
  if (name === undefined || name === "--help" || name === "-h") {
    process.stdout.write(usage);
    return 0;
  }
  process.stderr.write(
    `lading: '${name}' is not a command of lading registry: serve, gc, fsck, ls, tags, inspect, copy, rm, log or undo\n\n` +
      "Run 'lading registry --help' for more information\n",
  );
  return 1;
}
