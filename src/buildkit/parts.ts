/** What a build needs of its client beside files: secrets, agents and logins, as far as it names them. */
import type { Agent, RegistryLogin } from "../build/mod.ts";
import { needsOf } from "./request.ts";
import { agentOf, loginOf, type Session, secretOf } from "./session.ts";

/** Docker Hub, as clients ask for its login, and as they keep it. */
const hub = { domain: "docker.io", asked: "registry-1.docker.io" };

/** `text` is a Dockerfile or an address; images may also be named by arguments and by the request. */
export async function bringParts(
  session: Session,
  { text, images = [] }: { text: string; images?: readonly string[] },
) {
  const needs = needsOf(text, images);
  const secrets = new Map<string, Uint8Array>();
  for (const id of needs.secrets) {
    const secret = await secretOf(session, id);
    if (secret) secrets.set(id, secret);
  }
  const agents = new Map<string, Agent>();
  for (const id of needs.agents) {
    const agent = agentOf(session, id);
    if (agent) agents.set(id, agent);
  }
  const registries: Record<string, RegistryLogin> = {};
  for (const domain of needs.registries) {
    const login = await loginOf(session, domain === hub.domain ? hub.asked : domain);
    if (login) registries[domain] = login;
  }
  return { secrets, agents, registries };
}
