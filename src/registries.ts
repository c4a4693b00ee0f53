/** Pull, push and login as the API and builds ask for them, and the table of registries behind them. */
import type { EngineInfo, Registries } from "./api/mod.ts";
import { log } from "./base/mod.ts";
import type { OpenRepository, Pull, PushImage, RegistryLogin } from "./build/mod.ts";
import type { Transfers } from "./image/mod.ts";
import {
  formatPlatform,
  fullReference,
  parsePlatform,
  parseReference,
  withDefaultTag,
} from "./oci/mod.ts";
import type { DaemonOptions } from "./options.ts";
import { joinSettings, type RegistrySettings, readTable } from "./registry/mod.ts";

type Auth = Parameters<Registries["login"]>[0];

/** What `X-Registry-Auth` carries, as the registry client takes it. */
function credentialsOf({ username, password, identitytoken }: Auth) {
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(identitytoken ? { identityToken: identitytoken } : {}),
  };
}

export function registriesOf(transfers: Transfers): Registries {
  return {
    async pull(reference, { platform, auth, report, signal }) {
      await transfers.pull(reference, {
        credentials: credentialsOf(auth),
        report,
        signal,
        ...(platform ? { platform: parsePlatform(platform) } : {}),
      });
    },
    push: (reference, { platform, auth, report, signal }) =>
      transfers.push(reference, {
        credentials: credentialsOf(auth),
        report,
        signal,
        ...(platform ? { platform } : {}),
      }),
    async describe(reference, { auth, signal }) {
      const options = { credentials: credentialsOf(auth), signal };
      const { descriptor, platforms } = await transfers.describe(reference, options);
      const { mediaType, digest, size } = descriptor;
      return { Descriptor: { mediaType, digest, size }, Platforms: platforms };
    },
    search: (term, { limit, auth, signal }) =>
      transfers.search(term, { limit, credentials: credentialsOf(auth), signal }),
    login: (auth) =>
      transfers.login(
        registryOf(auth.serveraddress ?? ""),
        credentialsOf(auth),
        AbortSignal.timeout(loginMs),
      ),
  };
}

const loginMs = 60_000;

/** The domain that references have for a server's address as clients write it. */
function registryOf(address: string): string {
  const host = address.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === "" || host === "index.docker.io" || host === "registry-1.docker.io"
    ? "docker.io"
    : host;
}

/** Of the credentials that came with a build, those for the registry of this name. */
function credentialsFor(reference: string, registries: Readonly<Record<string, RegistryLogin>>) {
  const { domain } = parseReference(reference);
  const found = Object.entries(registries).find(([address]) => registryOf(address) === domain);
  return credentialsOf(found?.[1] ?? {});
}

/** Base images that are not here. */
export function pullForBuild(transfers: Transfers): Pull {
  return async (name, platform, { registries, report, signal }) => {
    const reference = fullReference(withDefaultTag(parseReference(name)));
    log("debug", "A build pulls its base", { reference, platform: formatPlatform(platform) });
    return await transfers.pull(reference, {
      credentials: credentialsFor(reference, registries),
      platform,
      report,
      signal,
    });
  };
}

/** Where builds push to. */
export function pushForBuild(transfers: Transfers): {
  keep: Transfers["keep"];
  forgetIndex: Transfers["forgetIndex"];
  push: PushImage;
  repository: OpenRepository;
} {
  return {
    keep: transfers.keep,
    forgetIndex: transfers.forgetIndex,
    push: (name, { registries, report, signal }) =>
      transfers.push(name, { credentials: credentialsFor(name, registries), report, signal }),
    repository: (name, registries) => transfers.repository(name, credentialsFor(name, registries)),
  };
}

const defaultTable = "/etc/lading/registries.json";

/** What flags and file say of registries; the file may be read again. @throws Failure "invalid" | … */
export function readRegistries(first: DaemonOptions) {
  const read = (options: DaemonOptions) => {
    const path = options.registriesFile ?? defaultTable;
    const table = readTable(path, options.registriesFile === undefined);
    const flags = { insecure: options.insecureRegistries, hubMirrors: options.registryMirrors };
    return joinSettings(table, flags);
  };
  let settings = read(first);
  const info: EngineInfo["registries"] = () => ({
    insecure: settings.insecure ?? [],
    mirrors: new Map(
      [...settings.routes.mirrors].map(([name, mirrors]) => [
        name,
        mirrors.map(({ domain, prefix }) => `${domain}/${prefix}`.replace(/\/$/, "")),
      ]),
    ),
  });
  return {
    info,
    settings: () => settings,
    /** Reads the file again. @throws Failure — what held before holds on */
    reload(options: DaemonOptions): RegistrySettings {
      settings = read(options);
      return settings;
    },
  };
}
