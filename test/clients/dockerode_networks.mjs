/** Networks, volumes and the engine through dockerode. `node dockerode_networks.mjs SOCKET`; prints what it saw as JSON. */
import Docker from "dockerode";

const docker = new Docker({ socketPath: process.argv[2] });
const saw = {};
const codeOf = (promise) => promise.then(() => 200).catch(({ statusCode }) => statusCode);

const events = [];
const stream = await docker.getEvents({ filters: { type: ["network", "volume"] } });
stream.on("data", (chunk) => {
  for (const line of String(chunk).trim().split("\n")) {
    const { Type, Action, Actor } = JSON.parse(line);
    if (Actor.Attributes.name !== "bridge") events.push(`${Type} ${Action}`);
  }
});

const network = await docker.createNetwork({
  Name: "dn",
  Labels: { kind: "one" },
  Attachable: true,
  IPAM: { Config: [{ Subnet: "10.216.7.0/24", IPRange: "10.216.7.64/26" }] },
});
saw.taken = await codeOf(docker.createNetwork({ Name: "dn" }));
saw.listed = (await docker.listNetworks({ filters: { label: ["kind=one"] } })).map((n) => n.Name);
saw.subnet = (await network.inspect()).IPAM.Config[0].Gateway;
saw.absent = await codeOf(docker.getNetwork("nosuch").inspect());

const volume = await docker.createVolume({ Name: "dv", Labels: { kind: "one" } });
saw.volume = [volume.name ?? volume.Name, (await docker.getVolume("dv").inspect()).Labels.kind];
saw.volumes = (await docker.listVolumes({ filters: { name: ["dv"] } })).Volumes.length;
saw.noVolume = await codeOf(docker.getVolume("nosuch").inspect());

const idle = await docker.createContainer({
  Image: "busybox",
  Cmd: ["sleep", "1000"],
  HostConfig: { Mounts: [{ Type: "volume", Source: "dv", Target: "/dv" }], AutoRemove: true },
});
await idle.start();
saw.inUse = await codeOf(docker.getVolume("dv").remove());
await network.connect({
  Container: idle.id,
  EndpointConfig: { IPAMConfig: { IPv4Address: "10.216.7.9" }, Aliases: ["al"] },
});
saw.address = (await idle.inspect()).NetworkSettings.Networks.dn.IPAddress;
saw.there = Object.keys((await network.inspect()).Containers).length;
saw.busy = await codeOf(network.remove());
await network.disconnect({ Container: idle.id, Force: true });
saw.gone = Object.keys((await network.inspect()).Containers).length;
saw.hostRefused = await codeOf(docker.getNetwork("host").connect({ Container: idle.id }));
saw.df = (await docker.df()).Volumes.filter(({ Name }) => Name === "dv")[0].UsageData.RefCount;
const stopped = idle.wait({ condition: "removed" });
await idle.stop({ t: 0 });
await stopped;

saw.kept = (await docker.pruneNetworks({ filters: { label: ["kind=two"] } })).NetworksDeleted ?? [];
saw.pruned = (await docker.pruneNetworks({ filters: { label: ["kind=one"] } })).NetworksDeleted;
saw.volumesPruned = (
  await docker.pruneVolumes({ filters: { all: ["true"], label: ["kind=one"] } })
).VolumesDeleted;
saw.info = [(await docker.info()).OSType, (await docker.version()).Os];
while (!events.includes("volume prune")) await new Promise((resolve) => setTimeout(resolve, 20));
saw.events = events;
stream.destroy();
console.log(JSON.stringify(saw));
