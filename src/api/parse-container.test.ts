import { expect, test } from "bun:test";
import { requestFrom } from "./fakes.ts";
import { Fields } from "./fields.ts";
import { parseCreate } from "./parse-container.ts";
import { parseUpdate } from "./parse-host.ts";

test("an empty body gets every default", () => {
  const { config, hostConfig, endpoints } = requestFrom({});
  expect(config).toMatchObject({ Hostname: "", Tty: false, Image: "", StdinOnce: false });
  expect(hostConfig).toMatchObject({
    Memory: 0,
    NetworkMode: "",
    Binds: null,
    RestartPolicy: { Name: "", MaximumRetryCount: 0 },
    PortBindings: {},
    MaskedPaths: null,
    Dns: [],
    PidsLimit: null,
  });
  expect(endpoints).toEqual([]);
});

test("parseCreate() gives clients before 1.40 an IPC that others may join", () => {
  const modeFor = (minor: number, HostConfig: object) =>
    parseCreate(new Fields({ HostConfig }, ""), { name: "", platform: "", minor }).hostConfig
      .IpcMode;
  expect(modeFor(39, {})).toBe("shareable");
  expect(modeFor(39, { IpcMode: "private" })).toBe("private");
  expect(modeFor(40, {})).toBe("");
});

test("null is absent, and names match in any case", () => {
  const { config, hostConfig } = requestFrom({
    image: "busybox",
    Cmd: null,
    Env: null,
    Labels: null,
    hostconfig: { memory: 12, Binds: null, LogConfig: null, portbindings: { "80/tcp": null } },
    NetworkingConfig: null,
  });
  expect(config.Image).toBe("busybox");
  expect(config.Cmd).toBeUndefined();
  expect(hostConfig.Memory).toBe(12);
  expect(hostConfig.PortBindings).toEqual({ "80/tcp": [] });
});

test("an empty list of masked paths is none, and not the default", () => {
  expect(requestFrom({ HostConfig: { MaskedPaths: [] } }).hostConfig.MaskedPaths).toEqual([]);
  expect(requestFrom({ HostConfig: { MaskedPaths: null } }).hostConfig.MaskedPaths).toBeNull();
});

test("the command may be one string, as old clients send it", () => {
  expect(requestFrom({ Cmd: "true", Entrypoint: ["sh", "-c"] }).config).toMatchObject({
    Cmd: ["true"],
    Entrypoint: ["sh", "-c"],
  });
});

test("a name like __proto__ is an ordinary key", () => {
  const body = JSON.parse('{"Labels":{"__proto__":"x","constructor":"y"}}');
  const { Labels } = requestFrom(body).config;
  expect(Object.entries(Labels!)).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
  expect(Object.getPrototypeOf(Labels)).toBe(Object.prototype);
});

test("wrong types and unknown words are told with their place", () => {
  const cases: [body: unknown, message: string][] = [
    [{ Image: 5 }, "invalid JSON: cannot unmarshal number into field Image of type string"],
    [{ Tty: "yes" }, "invalid JSON: cannot unmarshal string into field Tty of type bool"],
    [{ Env: "A=b" }, "invalid JSON: cannot unmarshal string into field Env of type list"],
    [{ Env: [5] }, "invalid JSON: cannot unmarshal number into field Env[0] of type string"],
    [{ Labels: [] }, "invalid JSON: cannot unmarshal array into field Labels of type map"],
    [{ Image: "a\0b" }, "invalid Image: a NUL byte is in it"],
    [
      { HostConfig: { Memory: 1.5 } },
      "invalid JSON: cannot unmarshal number into field HostConfig.Memory of type int64",
    ],
    [
      { HostConfig: { RestartPolicy: { Name: "sometimes" } } },
      "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', " +
        "'on-failure', 'on-unhealthy', or 'unless-stopped'",
    ],
    [
      { HostConfig: { Mounts: [{ Type: "odd" }] } },
      'invalid mount config for type "odd": mount type unknown',
    ],
    [{ HostConfig: { ConsoleSize: [1] } }, "invalid ConsoleSize: it takes rows and columns"],
    [
      { HostConfig: { CgroupnsMode: "odd" } },
      "invalid HostConfig.CgroupnsMode: 'odd'; use one of private, host",
    ],
    [
      { ExposedPorts: { "80/tcp": 5 } },
      "invalid JSON: cannot unmarshal number into field ExposedPorts.80/tcp of type object",
    ],
  ];
  for (const [body, message] of cases) expect(() => requestFrom(body)).toThrow(message);
});

test("endpoints come from NetworkingConfig", () => {
  const { endpoints } = requestFrom({
    NetworkingConfig: {
      EndpointsConfig: {
        mine: { Aliases: ["web"], IPAMConfig: { IPv4Address: "10.0.0.5", IPv6Address: "" } },
        other: null,
      },
    },
  });
  expect(endpoints).toEqual([
    { network: "mine", aliases: ["web"], ipv4: "10.0.0.5" },
    { network: "other" },
  ]);
});

test("parseUpdate() holds only what the body names", () => {
  const parse = (body: unknown) => parseUpdate(new Fields(body, ""));
  expect(parse({ Memory: 5, PidsLimit: null })).toEqual({ Memory: 5 });
  expect(parse({ RestartPolicy: { Name: "" } })).toEqual({});
  expect(parse({ RestartPolicy: { Name: "always" } })).toEqual({
    RestartPolicy: { Name: "always", MaximumRetryCount: 0 },
  });
});
