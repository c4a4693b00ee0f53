/** Repositories as the command line opens them: with what `lading login` or `docker login` kept. */
import { Failure, toFailure } from "./base/mod.ts";
import { registryAuth } from "./cli/credentials.ts";
import type { Reference } from "./oci/mod.ts";
import type { Credentials, RegistryClient, Repository } from "./registry/mod.ts";

/** The tag or digest of a reference. */
export function nameIn({ tag, digest }: Reference): string {
  return digest ?? tag ?? "latest";
}

/** The repository that a name means. */
export async function openRepository(
  client: RegistryClient,
  reference: Reference,
  push = false,
): Promise<Repository> {
  const credentials = await credentialsFor(`${reference.domain}/${reference.path}`);
  return client.repository(reference, { credentials, push });
}

/** What a registry refused for want of a right, with what to do about it. */
export function withLoginHint(error: unknown, domain: string, right: string): Failure {
  const failure = toFailure(error);
  if (failure.code !== "denied" || failure.hint) return failure;
  return new Failure("denied", failure.message, {
    hint: `Log in as a user who may ${right}: lading login ${domain}`,
    cause: error,
  });
}

/** What a login kept for the registry of an image. */
export async function credentialsFor(image: string): Promise<Credentials> {
  const { username, password, identitytoken } = (await registryAuth(image)) ?? {};
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(identitytoken ? { identityToken: identitytoken } : {}),
  };
}
