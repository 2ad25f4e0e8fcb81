#!/usr/bin/env python3
"""The mesh: what it carries beside its bare device and wireguard-go, how soon a newcomer is in it, and restarts.

    sudo tests/bench/mesh.py [--fizz target/release/fizz] [--rounds 7] [--nodes 50] [--newcomers 5] [TABLE...]

Boots labs of its own (`fizz lab`), their data in memory, and removes them at the end. Tables, in this order; all of
them where none is named:

  throughput  TCP and ping from a container to one on another node, beside the same WireGuard device without Fizz:
              in the nodes of a second lab, whose daemons are paused, from the nodes themselves
  devices     the same without containers: Fizz's userspace device beside Debian's wireguard-go, on the same nodes
  joining     that many daemons in one cluster, to which more come, one after the other: from the end of `fizz join`
              until each of the others has answered a ping to its address in the mesh, which takes a handshake
  restarts    a ping each 20 ms between containers on two nodes, while both daemons are killed and started, and while
              both are stopped and another copy of the binary is started in their place: packets lost

Where two are compared, they take turns, and who goes first takes turns too; machines are shared, so what counts are
the ratios. Devices are in their nodes' control groups, and what measures is in the caller's, on either side.

Needs docker.io, busybox-static, iperf3, iputils-ping, wireguard-tools, and for `devices` wireguard-go. The kernel must
have no WireGuard for `throughput` to be a comparison of equals: Fizz prefers it.
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import real
from real import in_memory, load, wait

MTU = 1420
PORT = 51820
ANSWER = re.compile(r"icmp_seq=(\d+) ttl=\d+ time=([\d.]+) ms")
# Echo requests to all, until each has answered or the time is over. The kernel adds the checksum.
PINGER = """
import json, select, socket, struct, sys, time
waiting, end = set(sys.argv[2:]), time.monotonic() + float(sys.argv[1])
raw, seen, number = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6), {}, 0
raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
print("ready", flush=True)
while waiting and time.monotonic() < end:
    number, next = number + 1, time.monotonic() + 0.05
    for it in waiting:
        try:
            raw.sendto(struct.pack("!BBHHH", 128, 0, 0, 7781, number & 0xffff), (it, 0))
        except OSError:
            pass
    while select.select([raw], [], [], max(0, next - time.monotonic()))[0]:
        packet, (sender, *_) = raw.recvfrom(2048)
        if packet[0] == 129 and packet[4:6] == struct.pack("!H", 7781) and sender in waiting:
            waiting.discard(sender)
            seen[sender] = time.monotonic()
print(json.dumps(seen))
"""


def main():
    asked = arguments()
    tables = {it.__name__: it for it in (throughput, devices, joining, restarts)}
    wrong = set(asked.tables) - set(tables)
    if wrong:
        sys.exit(f"there is no table {', '.join(sorted(wrong))}")
    if not Path(asked.fizz).is_file():
        sys.exit(f"there is no {asked.fizz}; run `cargo build --release`")
    in_memory()
    bench = Bench(asked)
    try:
        for name in asked.tables or tables:
            before = load()
            tables[name](bench)
            print(f"  (load {before} before, {load()} after; {time.strftime('%T')})\n", flush=True)
    finally:
        bench.down()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--fizz", default=str(here / "target/release/fizz"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=5, help="of TCP in each round")
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--newcomers", type=int, default=5)
    parser.add_argument("--restarts", type=int, default=5, help="of each kind")
    parser.add_argument("--name", default="mesh", help="what the labs' names begin with")
    parser.add_argument("tables", nargs="*")
    asked = parser.parse_args()
    # Nodes have another working directory.
    asked.fizz = str(Path(asked.fizz).resolve())
    return asked


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **{"stdin": subprocess.DEVNULL, **more})
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def ended(process, by=signal.SIGKILL):
    process.send_signal(by)
    return process.wait()


class Lab(real.Lab):
    """A lab of so many nodes with a runtime."""

    def __init__(self, asked, name, nodes, runtime):
        super().__init__(argparse.Namespace(fizz=asked.fizz, name=f"{asked.name}-{name}", nodes=nodes))
        self.runtime = runtime

    def boot(self, *words):
        name, count = self.asked.name, str(self.asked.nodes)
        self.fizz("lab", "up", "--name", name, "--nodes", count, "--runtime", self.runtime, *words)
        self.look()
        return self

    def network(self, node):
        return f"/proc/{self.nodes[node]['pid']}/ns/net"

    def on(self, node, *words):
        return self.fizz("lab", "exec", "--name", self.asked.name, node, "--", *words)


class Bench:
    """The labs, each made when it is needed."""

    def __init__(self, asked):
        self.asked, self.dir, self.labs = asked, Path(tempfile.mkdtemp(prefix="fizz-mesh-")), {}
        self.started = []

    def lab(self, name, make, *how):
        if name not in self.labs:
            self.labs[name] = lab = Lab(self.asked, name, *how)
            make(lab)
        return self.labs[name]

    def down(self):
        for it in self.started:
            ended(it)
        for it in self.labs.values():
            it.down()
        shutil.rmtree(self.dir)

    def start(self, *words, **more):
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(words, **{**quiet, **more})
        self.started.append(process)
        return process

    def containers(self):
        """Two containers, each on a node of its own, that share a network."""
        lab = self.lab("meshed", self.deploy, 2, "docker")
        listed = json.loads(lab.fizz("-p", "bench", "ps", "-o", "json", host="a"))
        addresses = {it["node_name"]: next(iter(it["addresses"].values())) for it in listed}
        return Pair("containers", *(self.inside(lab, it) for it in ("a", "b")), addresses["b"])

    def deploy(self, lab):
        lab.boot()
        root, archive = self.dir / "image", self.dir / "image.tar"
        (root / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), root / "bin")
        (root / "bin/sleep").symlink_to("busybox")
        run("tar", "-C", str(root), "-cf", str(archive), ".")
        change = ["--change", 'CMD ["/bin/sleep", "1000000"]']
        lab.on("a", "docker", "import", *change, str(archive), "mesh:1")
        lab.on("a", "docker", "save", "-o", str(archive), "mesh:1")
        lab.on("b", "docker", "load", "-i", str(archive))
        # JSON is YAML.
        apart = {"replicas": 2, "placement": {"max_replicas_per_node": 1}}
        service = {"image": "mesh:1", "stop_signal": "SIGKILL", "deploy": apart}
        file = self.dir / "compose.yaml"
        file.write_text(json.dumps({"services": {"web": service}}))
        lab.fizz("-p", "bench", "up", "-f", str(file), "--wait", host="a")

    def inside(self, lab, node):
        """The network of the only container of the service on a node, as this process sees it."""
        found = []

        def is_there():
            listed = lab.on(node, "docker", "ps", "-q", "--filter", "label=fizz.service=web").split()
            found[:] = listed and lab.on(node, "docker", "inspect", "-f", "{{.State.Pid}}", *listed).split()
            return len(found) == 1

        wait(f"one container runs on {node}", is_there)
        return f"/proc/{lab.nodes[node]['pid']}/root/proc/{found[0]}/ns/net"

    def device(self, kind):
        """Two nodes that are in no cluster, whose daemons are paused, with a device between them."""
        lab = self.lab("bare", self.idle, 2, "none")
        name, number = {"fizz": ("bare", 1), "wireguard-go": ("gone", 2)}[kind]
        pair = Pair(kind, *(lab.network(it) for it in ("a", "b")), f"10.21{number}.0.2")
        if run("nsenter", f"--net={pair.client}", "ip", "-br", "link", "show", "type", "tun").find(name) < 0:
            keys = [os.urandom(32) for _ in range(2)]
            for at, node in enumerate(("a", "b")):
                self.make(lab, node, kind, name, PORT + number, keys[at], keys[1 - at], f"10.21{number}.0")
        return pair

    @staticmethod
    def idle(lab):
        lab.boot("--no-cluster")
        lab.fizz("lab", "pause", "--name", lab.asked.name, "a", "b")

    def make(self, lab, node, kind, name, port, secret, other, prefix):
        """A device on a node, which knows that of the other: spoken to in WireGuard's own protocol."""
        control = "/run/wireguard/" + name + ".sock"
        lab.on(node, "mkdir", "-p", "/run/wireguard", "/var/run/wireguard")
        own = [self.asked.fizz, "wireguard-device", "--name", name, "--control", control]
        words = own if kind == "fizz" else ["env", "LOG_LEVEL=error", "wireguard-go", "-f", name]
        entering = self.start(self.asked.fizz, "lab", "exec", "--name", lab.asked.name, node, "--", *words)
        path = f"/proc/{lab.nodes[node]['pid']}/root{control}"
        wait(f"{kind} listens on {node}", lambda: os.path.exists(path))
        for process in run("pgrep", "-P", str(entering.pid)).split():
            into_groups(process, lab.nodes[node]["daemon"])
        me, them = ("1", "2") if node == "a" else ("2", "1")
        peer = next(it["address"] for it in lab.nodes.values() if it["name"] != node)
        public = run("wg", "pubkey", stdin=None, input=base64.b64encode(other).decode())
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(10)
            stream.connect(path)
            lines = [
                "set=1",
                f"private_key={secret.hex()}",
                f"listen_port={port}",
                f"public_key={base64.b64decode(public).hex()}",
                f"endpoint={peer}:{port}",
                "persistent_keepalive_interval=25",
                f"allowed_ip={prefix}.{them}/32",
            ]
            stream.sendall("".join(f"{it}\n" for it in [*lines, ""]).encode())
            answer = stream.recv(4096).decode()
        if not answer.startswith("errno=0"):
            raise RuntimeError(f"{kind} on {node} says {answer}")
        inside = ["nsenter", f"--net={lab.network(node)}", "ip"]
        run(*inside, "address", "add", f"{prefix}.{me}/24", "dev", name)
        run(*inside, "link", "set", name, "mtu", str(MTU), "up")


def into_groups(process, of):
    """Puts a process into another's control groups of processor time: the kernel shares that out by groups."""
    groups = {}
    for line in Path(f"/proc/{of}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= {it: path for it in controllers.split(",")}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, kind, options, *_ = line.split()
        controller = "" if kind == "cgroup2" else "cpu"
        if kind in ("cgroup", "cgroup2") and controller in ["", *options.split(",")] and controller in groups:
            Path(f"{at}{groups[controller]}/cgroup.procs").write_text(process)


class Pair:
    """Two networks, and the address of the second as the first reaches it."""

    def __init__(self, name, client, server, address):
        self.name, self.client, self.server, self.address = name, client, server, address

    def ready(self, bench):
        """Answers, and has somebody who listens."""
        bench.start("nsenter", f"--net={self.server}", "iperf3", "-s")
        wait(f"{self.name}: a ping is answered", lambda: self.reaches(), every=0.5)
        wait(f"{self.name}: TCP passes", lambda: self.tries(1), every=0.5)

    def reaches(self):
        words = ["ping", "-c", "1", "-W", "1", self.address]
        return not subprocess.run(self.there(*words), capture_output=True).returncode

    def tries(self, seconds):
        try:
            return self.tcp(seconds)
        except RuntimeError:
            return None

    def there(self, *words):
        return ["nsenter", f"--net={self.client}", *words]

    def tcp(self, seconds):
        """Gbit/s that arrived."""
        limit = str(seconds + 20)
        told = run("timeout", limit, *self.there("iperf3", "-c", self.address, "-t", str(seconds), "-J"))
        return json.loads(told)["end"]["sum_received"]["bits_per_second"] / 1e9

    def ping(self):
        """The middle of 200 round trips, in microseconds."""
        told = run("timeout", "60", *self.there("ping", "-n", "-c", "200", "-i", "0.01", self.address))
        return statistics.median(float(it[1]) for it in ANSWER.findall(told)) * 1e3


def throughput(bench):
    """Containers on two nodes, beside the device that carries them."""
    print("throughput: container to container on another node, beside its device without Fizz; goal: 0.97")
    pairs = [bench.containers(), bench.device("fizz")]
    pairs[1].name = "device"
    driver = bench.labs["meshed"].ask("a", "/v1/nodes")[0]["mesh"]["driver"]
    if driver != "userspace":
        print(f"  the mesh's device is {driver}: not the one that it is compared with")
    compare(bench, pairs, 0.97)


def devices(bench):
    """Fizz's device beside wireguard-go, on the same nodes."""
    print("devices: Fizz's userspace device beside Debian's wireguard-go; goal: 1.5")
    said = run("dpkg-query", "-W", "-f", "${Package} ${Version}", "wireguard-go")
    print(f"  {said}")
    compare(bench, [bench.device("fizz"), bench.device("wireguard-go")], 1.5)


def compare(bench, pairs, goal):
    rounds, seconds = bench.asked.rounds, bench.asked.seconds
    print(f"  {rounds} rounds of {seconds} s of TCP and 200 pings each 10 ms", flush=True)
    for it in pairs:
        it.ready(bench)
    rates, waits = {it.name: [] for it in pairs}, {it.name: [] for it in pairs}
    for number in range(rounds):
        before = load()
        turns = pairs if number % 2 == 0 else pairs[::-1]
        for it in turns:
            rates[it.name].append(it.tcp(seconds))
        for it in turns:
            waits[it.name].append(it.ping())
        each = "; ".join(f"{it.name} {rates[it.name][-1]:.3f} Gbit/s, {waits[it.name][-1]:.0f} us" for it in pairs)
        print(f"  round {number + 1}: {each}   (load {before} to {load()})", flush=True)
    print(f"  {'median (least to most)':<24} {'TCP, Gbit/s':>26} {'ping, us':>26}")
    for it in pairs:
        print(f"  {it.name:<24} {spread(rates[it.name], 3):>26} {spread(waits[it.name], 0):>26}")
    ours, theirs = (it.name for it in pairs)
    verdict(f"TCP of {theirs}'s", rates[ours], rates[theirs], goal)
    verdict(f"ping of {theirs}'s", waits[ours], waits[theirs], None)


def spread(figures, places):
    middle, least, most = (f"{it:.{places}f}" for it in (statistics.median(figures), min(figures), max(figures)))
    return f"{middle} ({least} to {most})"


def verdict(what, ours, theirs, goal):
    ratios = [a / b for a, b in zip(ours, theirs)]
    ratio = statistics.median(ours) / statistics.median(theirs)
    against = "" if goal is None else f"; goal {goal}: {'met' if goal <= ratio else 'missed'}"
    print(
        f"  {what}: ratio of medians {ratio:.2f}; of rounds {min(ratios):.2f} to {max(ratios):.2f}, "
        f"median {statistics.median(ratios):.2f}{against}"
    )


def joining(bench):
    """Newcomers to a large cluster, one after the other."""
    nodes, newcomers = bench.asked.nodes, bench.asked.newcomers
    print(f"joining: {newcomers} newcomers to {nodes} real daemons and more; goal: all others reached in 2 s")
    lab = bench.lab("many", lambda it: it.boot("--no-cluster"), nodes + newcomers, "none")
    first, *others = list(lab.nodes)[:nodes]
    late = list(lab.nodes)[nodes:]
    lab.fizz("init", host=first)
    token = lab.fizz("token", "create", "--uses", "0", host=first).strip()
    address = f"{lab.nodes[first]['address']}:{real.PORT}"
    begun = time.monotonic()
    # As `lab up` does it: what is measured comes after.
    for it in others:
        lab.fizz("join", address, "--token", token, host=it)
    members = [first, *others]
    wait("all see all", lambda: settled(lab, members), 300)
    print(f"  {nodes} are one cluster after {time.monotonic() - begun:.1f} s   (load {load()})", flush=True)
    last = []
    for it in late:
        # The cluster is at rest, and its tunnels stand, before the next comes.
        time.sleep(20)
        before = load()
        addresses = {member["mesh"]["address"]: member["name"] for member in lab.ask(first, "/v1/nodes")}
        words = ["nsenter", f"--net={lab.network(it)}", sys.executable, "-c", PINGER, "60", *addresses]
        pinger = bench.start(*words, stdout=subprocess.PIPE, text=True)
        pinger.stdout.readline()
        begun = time.monotonic()
        lab.fizz("join", address, "--token", token, host=it)
        joined = time.monotonic()
        seen = json.loads(pinger.stdout.readline())
        times = sorted(at - joined for at in seen.values())
        members.append(it)
        if len(times) < len(addresses):
            missed = [name for at, name in addresses.items() if at not in seen]
            print(f"  {it}: never reached {', '.join(missed)}")
            times.append(float("inf"))
        last.append(times[-1])
        print(
            f"  {it}: `join` took {joined - begun:.2f} s; after it {len(seen)} of {len(addresses)} reached: median "
            f"{statistics.median(times):.2f} s, within 2 s {sum(at <= 2 for at in times)}, last {times[-1]:.2f} s   "
            f"(load {before} to {load()})",
            flush=True,
        )
        wait("all see all", lambda: settled(lab, members), 120)
    middle = statistics.median(last)
    print(f"  the last is reached after {spread(last, 2)} s; goal 2 s: {'met' if middle <= 2 else 'missed'}")


def settled(lab, members):
    """Whether each of them sees all of them alive and in the mesh."""

    def well(node):
        seen = lab.ask(node, "/v1/nodes")
        return sum(it["state"] == "alive" and it.get("mesh") is not None for it in seen) == len(members)

    return all(well(it) for it in members)


def restarts(bench):
    """Daemons that are killed, and daemons that are replaced, under a ping."""
    count = bench.asked.restarts
    print(f"restarts: a ping each 20 ms between containers, {count} restarts of both daemons each way; goal: 0 lost")
    pair = bench.containers()
    lab = bench.labs["meshed"]
    wait("a ping is answered", pair.reaches, every=0.5)
    other = bench.dir / "another-fizz"
    shutil.copy(bench.asked.fizz, other)
    # Another file in content, too; what follows a program's sections is not looked at.
    with other.open("ab") as it:
        it.write(b"another")
    kept = [mesh_process(lab, it) for it in ("a", "b")]
    for what, binary, by in [("killed", bench.asked.fizz, signal.SIGKILL), ("replaced", other, signal.SIGTERM)]:
        said = bench.dir / f"{what}.txt"
        with said.open("w") as out:
            ping = bench.start(*pair.there("ping", "-n", "-i", "0.02", pair.address), stdout=out)
            time.sleep(2)
            took = [restart(bench, lab, by, binary if number % 2 == 0 else bench.asked.fizz) for number in range(count)]
            time.sleep(2)
            ended(ping, signal.SIGINT)
        answers = ANSWER.findall(said.read_text())
        seen = {int(it[0]) for it in answers}
        # The last may have been under way.
        lost = set(range(1, max(seen) + 1)) - seen
        late = sum(20 < float(it[1]) for it in answers)
        print(
            f"  {what} {count} times, both at once, away for {spread(took, 2)} s: {len(lost)} of {max(seen)} packets "
            f"lost, slowest {max(float(it[1]) for it in answers):.1f} ms, {late} over 20 ms: "
            f"{'met' if not lost else 'missed'}",
            flush=True,
        )
    same = kept == [mesh_process(lab, it) for it in ("a", "b")]
    print(f"  the devices' processes are {'the same as before' if same else 'other ones'}")
    if bench.asked.restarts % 2:
        restart(bench, lab, signal.SIGTERM, bench.asked.fizz)


def mesh_process(lab, node):
    """The number of the device's process on a node; nothing where the kernel has the device."""
    return lab.on(node, "sh", "-c", "cat $(find /run/fizz -name 'fizz-mesh.pid')")


def restart(bench, lab, by, binary):
    """Ends the daemons of both nodes and starts them from a binary; for how many seconds they were away."""
    lab.look()
    before = {it: lab.nodes[it]["daemon"] for it in lab.nodes}
    begun = time.monotonic()
    for it in before.values():
        os.kill(it, by)
    wait("the daemons have ended", lambda: not any(os.path.exists(f"/proc/{it}") for it in before.values()))
    for it in lab.nodes:
        # A node starts its daemon by the name that it was started by itself.
        there = Path(f"/proc/{lab.nodes[it]['pid']}/root{bench.asked.fizz}")
        if not there.samefile(bench.asked.fizz):
            lab.on(it, "umount", bench.asked.fizz)
        if binary != bench.asked.fizz:
            lab.on(it, "mount", "--bind", str(binary), bench.asked.fizz)
    time.sleep(1)
    lab.fizz("lab", "start", "--name", lab.asked.name, *lab.nodes)
    wait("the daemons answer", lambda: lab.all_see(2), every=0.1)
    took = time.monotonic() - begun
    lab.look()
    wanted = Path(binary).stat().st_ino
    for name, it in lab.nodes.items():
        if it["daemon"] == before[name] or os.stat(f"/proc/{it['daemon']}/exe").st_ino != wanted:
            raise RuntimeError(f"{name}'s daemon is not {binary}, anew")
    time.sleep(1)
    return took


if __name__ == "__main__":
    main()
