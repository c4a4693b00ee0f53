/** Each main verb once through dockerode. `node dockerode.mjs SOCKET`, in its folder; prints what it saw as JSON. */
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import Docker from "dockerode";

const docker = new Docker({ socketPath: process.argv[2] });
const saw = {};

/** Collects a stream to its end. */
async function bytes(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Sends `input` through an attached stream, ends it, and gives what comes back on stdout. */
async function converse(stream, input) {
  const stdout = new PassThrough();
  docker.modem.demuxStream(stream, stdout, new PassThrough());
  let text = "";
  stdout.on("data", (chunk) => {
    text += chunk;
  });
  stream.end(input);
  await once(stream, "end");
  return text;
}

saw.ping = String(await docker.ping());

const output = new PassThrough();
const [{ StatusCode: runCode }, ran] = await docker.run("busybox", ["sh", "-c", "exit 3"], output);
saw.run = runCode;
await ran.remove();

const cat = await docker.createContainer({
  Image: "busybox",
  Cmd: ["cat"],
  OpenStdin: true,
  StdinOnce: true,
});
const stream = await cat.attach({
  stream: true,
  stdin: true,
  stdout: true,
  stderr: true,
  hijack: true,
});
await cat.start();
saw.attach = await converse(stream, "to and fro");
saw.wait = (await cat.wait()).StatusCode;
saw.logs = String((await cat.logs({ stdout: true })).subarray(8));
await cat.remove();

const web = await docker.createContainer({
  name: "web",
  Image: "busybox",
  Cmd: ["sleep", "1000"],
  ExposedPorts: { "80/tcp": {} },
  HostConfig: { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } },
});
await web.start();
const port = (await web.inspect()).NetworkSettings.Ports["80/tcp"][0];
saw.port = port.HostIp === "127.0.0.1" && Number(port.HostPort) > 0;
const exec = await web.exec({
  Cmd: ["sh", "-c", "cat; exit 6"],
  AttachStdin: true,
  AttachStdout: true,
});
saw.exec = await converse(await exec.start({ hijack: true, stdin: true }), "in");
saw.execCode = (await exec.inspect()).ExitCode;
const archive = await bytes(await web.getArchive({ path: "/bin/busybox" }));
saw.archive = archive.subarray(0, 7).toString();
await web.putArchive(archive, { path: "/tmp" });
saw.list = (await docker.listContainers({ filters: { name: ["web"] } })).length;
await web.commit({ repo: "committed" });
await web.stop({ t: 0 });
await web.remove({ v: true });

const tar = await bytes(await docker.getImage("committed").get());
await docker.getImage("committed").remove();
saw.load = String(await bytes(await docker.loadImage(Readable.from([tar])))).includes("committed");
const build = await docker.buildImage({ context: ".", src: ["Dockerfile"] }, { t: "built" });
saw.build = await new Promise((resolve, reject) =>
  docker.modem.followProgress(build, (error, all) =>
    error ? reject(error) : resolve(all.at(-1).stream.trim()),
  ),
);
for (const name of ["built", "committed"]) await docker.getImage(name).remove();
const network = await docker.createNetwork({ Name: "net" });
await network.remove();
await docker.createVolume({ Name: "vol" });
await docker.getVolume("vol").remove();
saw.absent = await docker
  .getContainer("absent")
  .inspect()
  .catch(({ statusCode }) => statusCode);
console.log(JSON.stringify(saw));
