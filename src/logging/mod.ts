/**
 * Log servers: syslog, journald, fluentd, gelf, and plugins. From a container's output, as chunks, to lines on
 * their way to a server. It keeps no log: what is sent is read from the one on disk, so that a server
 * that is slow or away stops no container, and another daemon can go on where this one ended.
 */
export { type Forwarding, forward, type Source } from "./forward.ts";
export { checkOptions, flagOf, isRemote, logDrivers, parseBytes } from "./options.ts";
export { logPlugins } from "./plugin.ts";
export { attributesOf, type Subject, tagOf } from "./subject.ts";
