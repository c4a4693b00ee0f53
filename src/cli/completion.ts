import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { entries, groups, outside } from "./commands.ts";
import { print } from "./output.ts";

export const command = defineCommand({
  usage: "bash|zsh|fish",
  flags: {},
  arguments: { min: 1, max: 1 },
  async run({ args }) {
    const script = { bash: bashScript, zsh: zshScript, fish: fishScript }[args[0]!];
    if (!script) {
      throw new Failure("invalid", `Cannot write a completion script for "${args[0]}"`, {
        hint: "The shells are bash, zsh and fish",
      });
    }
    print(script());
    return 0;
  },
});

/** Words that may follow `path`: "" is the program itself. */
function wordsAfter(path: string): string[] {
  if (path === "") {
    const single = entries.flatMap(({ names }) => names.filter((name) => !name.includes(" ")));
    return [...new Set([...single, ...Object.keys(groups), ...Object.keys(outside)])].sort();
  }
  const inside = entries.flatMap(({ names }) =>
    names.filter((name) => name.startsWith(`${path} `)),
  );
  return [...new Set(inside.map((name) => name.slice(path.length + 1)))].sort();
}

function flagsOf(name: string): string[] {
  const entry = entries.find(({ names }) => names.includes(name))!;
  const { flags } = entry.load().command;
  return Object.entries(flags)
    .filter(([, flag]) => !flag.hidden)
    .map(([flag]) => `--${flag}`)
    .sort();
}

/** What the arguments of a command name, and the command that lists it. */
const lists: Readonly<Record<string, string>> = {
  container: "ps --all --format '{{.Names}}'",
  image: "images --format '{{.Repository}}:{{.Tag}}'",
  network: "network ls --format '{{.Name}}'",
  volume: "volume ls --quiet",
};

function kindOf(name: string): string | undefined {
  const entry = entries.find(({ names }) => names.includes(name))!;
  const usage = entry.load().command.usage;
  if (/\bCONTAINER\b/.test(usage)) return "container";
  if (/\bIMAGE\b|SOURCE_IMAGE|NAME\[:TAG/.test(usage)) return "image";
  if (/\bNETWORK\b/.test(usage) && !name.includes("create")) return "network";
  return /\bVOLUME\b/.test(usage) && !name.includes("create") ? "volume" : undefined;
}

const all = (): string[] => entries.flatMap(({ names }) => names);

function bashScript(): string {
  const cases = all().map((name) => {
    const kind = kindOf(name);
    const listing = kind ? ` list="${lists[kind]!.replaceAll("$", "\\$")}"` : "";
    return `    "${name}") flags="${flagsOf(name).join(" ")}"${listing} ;;`;
  });
  const subs = Object.keys(groups).map(
    (group) => `    ${group}) words="${wordsAfter(group).join(" ")}" ;;`,
  );
  return `# bash completion for lading: eval "$(lading completion bash)"
_lading() {
  local current="\${COMP_WORDS[COMP_CWORD]}" name="" group="" words="" flags="" list="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) continue ;; esac
    if [ -z "$name" ]; then
      name="$word"
      case "$word" in ${Object.keys(groups).join("|")}) group="$word" ;; *) break ;; esac
    else
      name="$name $word"
      break
    fi
  done
  if [ -z "$name" ]; then
    COMPREPLY=($(compgen -W "${wordsAfter("").join(" ")}" -- "$current"))
    return
  fi
  if [ "$name" = "$group" ]; then
    case "$group" in
${subs.join("\n")}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "$name" in
${cases.join("\n")}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) if [ -n "$list" ]; then
         COMPREPLY=($(compgen -W "$(eval "lading $list" 2>/dev/null | grep -x '[A-Za-z0-9._/:@-]*')" -- "$current"))
       else
         COMPREPLY=($(compgen -f -- "$current"))
       fi ;;
  esac
}
complete -F _lading lading`;
}

function zshScript(): string {
  return `#compdef lading
autoload -U +X bashcompinit && bashcompinit
${bashScript()}`;
}

function fishScript(): string {
  const lines = [
    "# fish completion for lading: lading completion fish | source",
    "complete -c lading -f",
  ];
  const condition = (name: string) => {
    const words = name.split(" ");
    return words.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
  };
  lines.push(`complete -c lading -n __fish_use_subcommand -a '${wordsAfter("").join(" ")}'`);
  for (const group of Object.keys(groups)) {
    const words = wordsAfter(group).join(" ");
    const none = `not __fish_seen_subcommand_from ${words}`;
    lines.push(`complete -c lading -n '${condition(group)}; and ${none}' -a '${words}'`);
  }
  for (const name of all()) {
    for (const flag of flagsOf(name)) {
      lines.push(`complete -c lading -n '${condition(name)}' -l ${flag.slice(2)}`);
    }
    const kind = kindOf(name);
    if (kind) {
      const listing = `(lading ${lists[kind]!.replaceAll("'", '"')} 2>/dev/null)`;
      lines.push(`complete -c lading -n '${condition(name)}' -a '${listing}'`);
    }
  }
  return lines.join("\n");
}
