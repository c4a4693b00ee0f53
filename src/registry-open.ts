/** Repositories as the command line opens them: with what `lading login` or `docker login` kept. */
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

/** What a login kept for the registry of an image. */
export async function credentialsFor(image: string): Promise<Credentials> {
  const { username, password, identitytoken } = (await registryAuth(image)) ?? {};
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(identitytoken ? { identityToken: identitytoken } : {}),
  };
}
