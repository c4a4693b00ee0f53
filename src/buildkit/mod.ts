/**
 * BuildKit's protocol, the server's end: gRPC on hijacked connections (`POST /grpc`, `POST /session`), so
 * that `docker build` with buildx and `docker compose build` use our builder.
 * Protocol: https://github.com/moby/buildkit/tree/master/api/services/control
 */
export { type Asked, Control, type ControlOptions } from "./control.ts";
