/**
 * Plugins of Docker's plugin protocol, as far as every kind of them is alike: where they are found, how
 * they are reached, the handshake, and one call. What is said to a volume, network, address or log
 * driver is known by the folder that says it.
 * Protocol: https://docs.docker.com/engine/extend/plugin_api/
 */
export { openPlugins, type Plugin, type Plugins } from "./plugins.ts";
