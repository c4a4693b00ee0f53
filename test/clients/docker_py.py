"""Each main verb once through docker-py. `docker_py.py SOCKET`; prints what it saw as JSON."""
import io
import json
import sys
import tarfile

import docker

client = docker.DockerClient(base_url=sys.argv[1], version="auto", timeout=30)
saw = {"ping": client.ping()}


def code_of(error, task):
    """What the error of a call that must fail says."""
    try:
        task()
    except error as raised:
        return raised
    return None


saw["run"] = client.containers.run("busybox", "echo hi", remove=True).decode()
failed = code_of(
    docker.errors.ContainerError,
    lambda: client.containers.run("busybox", 'sh -c "echo no >&2; exit 3"', remove=True),
)
saw["run_failed"] = [failed.exit_status, failed.stderr.decode()]

web = client.containers.run(
    "busybox", 'sh -c "echo one; echo two; sleep 1000"', name="web", detach=True,
    ports={"80/tcp": ("127.0.0.1", None)}, environment={"A": "b"}, labels={"l": "m"},
    mem_limit="50m", volumes={"vol": {"bind": "/vol", "mode": "rw"}}, tmpfs={"/scratch": ""},
)
saw["followed"] = b"".join(next(web.logs(stream=True, follow=True)).split()).decode()[:3]
web.reload()
saw["inspected"] = [web.status, web.labels["l"], web.ports["80/tcp"][0]["HostIp"]]
result = web.exec_run('sh -c "echo o; echo e >&2; exit 4"', demux=True)
saw["exec"] = [result.exit_code, *(part.decode() for part in result.output)]

packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as tar:
    member = tarfile.TarInfo("x")
    member.size = 3
    tar.addfile(member, io.BytesIO(b"xyz"))
web.put_archive("/vol", packed.getvalue())
parts, stat = web.get_archive("/vol/x")
with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
    saw["archive"] = [stat["size"], tar.extractfile("x").read().decode()]

saw["top"] = len(web.top()["Processes"])
saw["stats"] = web.stats(stream=False)["name"]
web.pause()
web.unpause()
image = web.commit("committed", changes=['CMD ["true"]'])
saved = b"".join(image.save(named=True))
client.images.remove("committed")
saw["load"] = [each.tags for each in client.images.load(saved)]
client.images.remove("committed")
web.stop(timeout=0)
saw["wait"] = web.wait()["StatusCode"]
web.remove(v=True)
client.volumes.get("vol").remove()

built, _ = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN true\nLABEL a=b\n"), tag="built")
saw["build"] = built.labels
broken = code_of(
    docker.errors.BuildError,
    lambda: client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5\n")),
)
saw["build_failed"] = "returned a non-zero code: 5" in broken.msg
client.images.remove("built")

network = client.networks.create("net", driver="bridge")
idle = client.containers.create("busybox", network="net")
network.disconnect(idle)
network.connect(idle, aliases=["alias"])
idle.remove()
network.remove()
absent = code_of(docker.errors.NotFound, lambda: client.containers.get("absent"))
saw["absent"] = absent.status_code
print(json.dumps(saw))
