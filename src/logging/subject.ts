import { Failure } from "../base/mod.ts";
import { parseTemplate, Row, runTemplate } from "../template/mod.ts";

/** What log servers are told of a container. */
export interface Subject {
  readonly id: string;
  readonly name: string;
  readonly imageId: string;
  readonly imageName: string;
  readonly command: string;
  /** RFC 3339. */
  readonly created: string;
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** The host's name. */
  readonly hostname: string;
  /** Where a driver may keep what goes with the container. */
  readonly logDirectory: string;
}

type Options = Readonly<Record<string, string>>;

/** What the options `labels`, `labels-regex`, `env` and `env-regex` pick. @throws "invalid" */
export function attributesOf(
  { env, labels }: Pick<Subject, "env" | "labels">,
  options: Options,
): Record<string, string> {
  const variables = env.map((entry): [string, string] => {
    const at = entry.indexOf("=");
    return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
  });
  return Object.fromEntries([
    ...picked(Object.entries(labels), options, "labels"),
    ...picked(variables, options, "env"),
  ]);
}

function picked(all: [string, string][], options: Options, name: "labels" | "env") {
  const names = new Set((options[name] ?? "").split(",").filter(Boolean));
  const pattern = options[`${name}-regex`];
  const expression = pattern ? parseExpression(pattern, `${name}-regex`) : undefined;
  return all.filter(([key]) => names.has(key) || expression?.test(key));
}

function parseExpression(pattern: string, option: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (cause) {
    throw new Failure("invalid", `invalid log opt ${option}: ${String(cause)}`, { cause });
  }
}

/** The option `tag`, a Go template over the container; its short ID by default. @throws "invalid" */
export function tagOf(subject: Subject, options: Options): string {
  const template = options["tag"] || "{{.ID}}";
  const short = (id: string) => id.replace(/^sha256:/, "").slice(0, 12);
  const fields: Record<string, () => unknown> = {
    ID: () => short(subject.id),
    FullID: () => subject.id,
    Name: () => subject.name,
    ImageID: () => short(subject.imageId),
    ImageFullID: () => subject.imageId,
    ImageName: () => subject.imageName,
    DaemonName: () => "docker",
    Command: () => subject.command,
    Hostname: () => subject.hostname,
    ContainerID: () => subject.id,
    ContainerName: () => `/${subject.name}`,
    ContainerImageID: () => subject.imageId,
    ContainerImageName: () => subject.imageName,
    ContainerLabels: () => subject.labels,
    ContainerEnv: () => subject.env,
    Config: () => options,
    ExtraAttributes: () => attributesOf(subject, options),
  };
  try {
    return runTemplate(
      parseTemplate(template),
      new Row("logger.Info", new Map(Object.entries(fields))),
    );
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Failure("invalid", `invalid log opt tag "${template.slice(0, 200)}": ${why}`, {
      cause,
    });
  }
}
