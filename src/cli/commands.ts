/** The names of all commands. A command's file is loaded when it is called, never before. */
import type { Command } from "./command.ts";

/** One command: all its names, the first of which is the canonical one, and what it does. */
export interface Entry {
  readonly names: readonly string[];
  readonly about: string;
  load(): { readonly command: Command };
}

const entry = (names: string, about: string, load: () => { command: Command }): Entry => ({
  names: names.split(", "),
  about,
  load,
});

// `require` with a literal: Bun loads it in half the time of `import()`, and its bundler sees it.
export const entries: readonly Entry[] = [
  entry("container run, run", "Create a container from an image and start it", () =>
    require("./run.ts"),
  ),
  entry("container exec, exec", "Run a command in a running container", () => require("./exec.ts")),
  entry("container ls, container list, container ps, ps", "List containers", () =>
    require("./container-ls.ts"),
  ),
  entry("image build, build, builder build", "Build an image from a Dockerfile", () =>
    require("./build.ts"),
  ),
  entry("image pull, pull", "Download an image from a registry", () => require("./pull.ts")),
  entry("image push, push", "Upload an image to a registry", () => require("./push.ts")),
  entry("image ls, image list, images", "List images", () => require("./image-ls.ts")),
  entry("login", "Log in to a registry", () => require("./login.ts")),
  entry("logout", "Log out of a registry", () => require("./logout.ts")),
  entry("credential", "Keep credentials encrypted, for Docker's clients", () =>
    require("./credential.ts"),
  ),
  entry("search", "Search a registry for images", () => require("./search.ts")),
  entry("version", "Show the versions of client and engine", () => require("./version.ts")),
  entry("system info, info", "Show what the engine runs on", () => require("./info.ts")),
  entry(
    "container attach, attach",
    "Connect standard input, output and error to a running container",
    () => require("./attach.ts"),
  ),
  entry("container commit, commit", "Make an image of a container's changes", () =>
    require("./commit.ts"),
  ),
  entry("container cp, cp", "Copy files between a container and here", () => require("./cp.ts")),
  entry("container create, create", "Create a container", () => require("./create.ts")),
  entry("container diff, diff", "List the files that a container changed", () =>
    require("./diff.ts"),
  ),
  entry("system events, events", "Follow what happens in the engine", () => require("./events.ts")),
  entry("container export, export", "Write a container's files as a tar archive", () =>
    require("./export.ts"),
  ),
  entry("image history, history", "Show the steps that made an image", () =>
    require("./history.ts"),
  ),
  entry("image import, import", "Make an image from the files in a tar archive", () =>
    require("./import.ts"),
  ),
  entry("inspect", "Show all that is known of an object", () => require("./inspect.ts")),
  entry("container inspect", "Show all that is known of containers", () =>
    require("./container-inspect.ts"),
  ),
  entry("image inspect", "Show all that is known of images", () => require("./image-inspect.ts")),
  entry("container kill, kill", "Send a signal to running containers", () => require("./kill.ts")),
  entry("image load, load", "Load images from an archive", () => require("./load.ts")),
  entry("container logs, logs", "Show what a container printed", () => require("./logs.ts")),
  entry("container pause, pause", "Freeze all processes of containers", () =>
    require("./pause.ts"),
  ),
  entry("container port, port", "List the published ports of a container", () =>
    require("./port.ts"),
  ),
  entry("container rename, rename", "Give a container another name", () => require("./rename.ts")),
  entry("container restart, restart", "Stop containers and start them again", () =>
    require("./restart.ts"),
  ),
  entry("container rm, container remove, rm", "Remove containers", () => require("./rm.ts")),
  entry("image rm, image remove, rmi", "Remove images", () => require("./rmi.ts")),
  entry("image save, save", "Write images to an archive (to stdout by default)", () =>
    require("./save.ts"),
  ),
  entry("container start, start", "Start stopped containers", () => require("./start.ts")),
  entry("container stats, stats", "Follow what containers use", () => require("./stats.ts")),
  entry("container stop, stop", "Stop running containers", () => require("./stop.ts")),
  entry("image tag, tag", "Give an image another name", () => require("./tag.ts")),
  entry("container top, top", "List the processes of a container", () => require("./top.ts")),
  entry("container unpause, unpause", "Let frozen containers go on", () => require("./unpause.ts")),
  entry("container update, update", "Change the limits of containers", () =>
    require("./update.ts"),
  ),
  entry("container wait, wait", "Wait until containers end and print their exit codes", () =>
    require("./wait.ts"),
  ),
  entry("container prune", "Remove all stopped containers", () => require("./container-prune.ts")),
  entry("image prune", "Remove images that nothing uses", () => require("./image-prune.ts")),
  entry("network connect", "Connect a container to a network", () =>
    require("./network-connect.ts"),
  ),
  entry("network create", "Create a network", () => require("./network-create.ts")),
  entry("network disconnect", "Take a container off a network", () =>
    require("./network-disconnect.ts"),
  ),
  entry("network inspect", "Show all that is known of networks", () =>
    require("./network-inspect.ts"),
  ),
  entry("network ls, network list", "List networks", () => require("./network-ls.ts")),
  entry("network prune", "Remove networks that nothing uses", () => require("./network-prune.ts")),
  entry("network rm, network remove", "Remove networks", () => require("./network-rm.ts")),
  entry("network why", "Tell why one container reaches another, or does not", () =>
    require("./network-why.ts"),
  ),
  entry("volume clone", "Copy a volume, with all that is in it", () =>
    require("./volume-clone.ts"),
  ),
  entry("volume export", "Write the files of a volume as a tar archive", () =>
    require("./volume-export.ts"),
  ),
  entry("volume import", "Make a volume of the files in a tar archive", () =>
    require("./volume-import.ts"),
  ),
  entry("volume mv, volume rename", "Give a volume another name", () => require("./volume-mv.ts")),
  entry("volume snapshot", "Keep the state of a volume, and go back to it", () =>
    require("./volume-snapshot.ts"),
  ),
  entry("volume create", "Create a volume", () => require("./volume-create.ts")),
  entry("volume inspect", "Show all that is known of volumes", () =>
    require("./volume-inspect.ts"),
  ),
  entry("volume ls, volume list", "List volumes", () => require("./volume-ls.ts")),
  entry("volume prune", "Remove volumes that nothing uses", () => require("./volume-prune.ts")),
  entry("volume rm, volume remove", "Remove volumes", () => require("./volume-rm.ts")),
  entry("system df", "Show what takes up the disk", () => require("./system-df.ts")),
  entry("system fsck", "Find, and remove, what on the disk nothing owns", () =>
    require("./system-fsck.ts"),
  ),
  entry("system prune", "Remove all that nothing uses", () => require("./system-prune.ts")),
  entry("bake, builder bake", "Build the targets of a bake or Compose file", () =>
    require("./bake.ts"),
  ),
  entry("builder history", "List, show and remove past builds", () =>
    require("./builder-history.ts"),
  ),
  entry("builder prune", "Empty the build cache", () => require("./builder-prune.ts")),
  entry("context ls, context list", "List contexts", () => require("./context-ls.ts")),
  entry("context show", "Print the name of the context in use", () => require("./context-show.ts")),
  entry("context create", "Name an engine", () => require("./context-create.ts")),
  entry("context use", "Choose the engine of further commands", () => require("./context-use.ts")),
  entry("context rm, context remove", "Forget contexts", () => require("./context-rm.ts")),
  entry("context inspect", "Show all that is known of contexts", () =>
    require("./context-inspect.ts"),
  ),
  entry("context update", "Change a context", () => require("./context-update.ts")),
  entry("context export", "Write a context, with its keys, to an archive", () =>
    require("./context-export.ts"),
  ),
  entry("context import", "Make a context of an archive", () => require("./context-import.ts")),
  entry("system dial-stdio", "Connect standard input and output to the engine, for ssh://", () =>
    require("./dial-stdio.ts"),
  ),
  entry("completion", "Print a completion script for a shell", () => require("./completion.ts")),
];

export const groups: Readonly<Record<string, string>> = {
  builder: "Manage builds",
  container: "Manage containers",
  context: "Manage contexts",
  image: "Manage images",
  network: "Manage networks",
  system: "Manage the engine",
  volume: "Manage volumes",
};

/** What `main.ts` runs itself; here for help alone. */
export const outside: Readonly<Record<string, string>> = {
  daemon: "Run an engine in the foreground",
  manifest: "Join images of several platforms under one name",
  doctor: "Check what this host lacks, and say what to do",
  registry: "Serve a registry, and keep it in order",
};

/** The command of this name (`ps`, `container ls`). */
export function findEntry(name: string): Entry | undefined {
  return entries.find(({ names }) => names.includes(name));
}
