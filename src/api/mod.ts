/**
 * The Engine API v1.51 with both ends: the server that turns HTTP into calls of the folders below, and
 * the client that turns calls into HTTP. Clients import `client.ts` and `schema.ts` alone.
 * Spec: https://docs.docker.com/reference/api/engine/version/v1.51/
 */
export { engineVersion } from "./answers.ts";
export { type Client, type ConnectOptions, connect } from "./client.ts";
export type { Context, EngineInfo, Registries, RegistriesInfo } from "./context.ts";
export type { Listen } from "./listen.ts";
export { type ApiServer, type ServeOptions, serveApi } from "./server.ts";
