export type {
  BoundPort,
  Endpoint,
  EndpointSpec,
  Network,
  NetworkSpec,
  NetworkStore,
  PortSpec,
  Sandbox,
  SandboxSpec,
  Subnet,
} from "./types.ts";
