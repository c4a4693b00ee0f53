import { type Access, type Asking, anonymousName, type Identity, type Need } from "./access.ts";
import { type Passwords, readBasic } from "./access-passwords.ts";
import { Refusal } from "./refusal.ts";

const challenge = { "WWW-Authenticate": 'Basic realm="Lading registry", charset="UTF-8"' };

/** Names and passwords with each request. Clients that find `/v2/` open would never send any. */
export function basicAccess(passwords: Passwords, identify: (name: string) => Identity): Access {
  return {
    async admit(asking, needs) {
      const who = identify((await readUser(passwords, asking)) ?? anonymousName);
      const isKnown = who.name !== anonymousName;
      if (!isKnown && (needs.length === 0 || !mayAll(who, needs)))
        throw unauthorized(asking.request);
      if (!mayAll(who, needs)) throw denied(who, needs);
      return who;
    },
    identify: async (asking) => identify((await readUser(passwords, asking)) ?? anonymousName),
  };
}

/** The user whose password came with the request; undefined when none came. */
export async function readUser(passwords: Passwords, asking: Asking): Promise<string | undefined> {
  const credentials = readBasic(asking.request);
  if (!credentials) return undefined;
  if (await passwords.verify(credentials, asking)) return credentials.name;
  throw new Refusal("UNAUTHORIZED", "Cannot log in: unknown name or wrong password", {
    headers: challenge,
  });
}

/** The catalog holds what the asker may pull: nobody needs a right for it. */
export function mayAll(who: Identity, needs: readonly Need[]): boolean {
  return needs.every(
    ({ repository, action }) =>
      (repository === "" && action === "pull" && who.name !== anonymousName) ||
      who.may(repository, action),
  );
}

export function denied(who: Identity, needs: readonly Need[]): Refusal {
  const { repository, action } = needs.find((need) => !who.may(need.repository, need.action))!;
  const where = repository === "" ? "the registry" : `"${repository}"`;
  const message = `"${who.name}" may not ${action} ${where}: requested access is denied`;
  return new Refusal("DENIED", message, { detail: { repository, action } });
}

function unauthorized(request: Request): Refusal {
  const message = "Authentication is required";
  return new Refusal("UNAUTHORIZED", message, {
    headers: challenge,
    ...(request.headers.has("Authorization") ? {} : { hint: "Log in first" }),
  });
}
