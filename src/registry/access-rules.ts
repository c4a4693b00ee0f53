import { type Action, anonymousName, type Identity } from "./access.ts";
import { compileGlobs } from "./glob.ts";

/** Lets `who` do `actions` in repositories whose names match. Rules only add; none forbids. */
export interface Rule {
  /** Globs: `*` is one part of a name, `**` any number of parts. */
  readonly repositories: readonly string[];
  /** Names, `anonymous` (everybody), `users` (everybody with a password). */
  readonly who: readonly string[];
  readonly actions: readonly Action[];
}

/** What everybody with a password gets where there are no rules: all but administration. */
export const everyUser: Rule = {
  repositories: ["**"],
  who: ["users"],
  actions: ["pull", "push", "delete"],
};

/** Compiles rules to the question who may do what. To push is to pull as well. */
export function compileRules(rules: readonly Rule[]): (name: string) => Identity {
  const compiled = rules.map((rule) => ({ ...rule, matches: compileGlobs(rule.repositories) }));
  return (name) => {
    const isUser = name !== anonymousName;
    const mine = compiled.filter(
      ({ who }) =>
        who.includes(anonymousName) || (isUser && (who.includes("users") || who.includes(name))),
    );
    return {
      name,
      may: (repository, action) =>
        mine.some(
          (rule) =>
            (rule.actions.includes(action) ||
              (action === "pull" && rule.actions.includes("push"))) &&
            rule.matches(repository),
        ),
    };
  };
}
