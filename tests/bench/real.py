#!/usr/bin/env python3
"""Many real daemons on this machine: what each costs, and how soon all of them know.

    sudo tests/bench/real.py [--fizz target/release/fizz] [--nodes 50] [--rounds 40] [TABLE...]

Boots a lab of its own (`fizz lab`, runtime `none`), its data in memory, as that many databases would share
one disk, and removes it at the end. Tables, in this order: form, idle, change, watch, commands, start,
forged, quiet; all of them where none is named. `--keep` leaves the lab, and a lab of that name is used as it
is. Each figure comes with the machine's load before and after it: beside other work it is an upper bound.
"""

import argparse
import ctypes
import http.client
import json
import os
import pickle
import random
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DATA = Path("/var/lib/fizz-lab")
PORT = 7780
TICKS = os.sysconf("SC_CLK_TCK")
GIVEN_UP = 30.0
FORGED = 100_000
PACE = 25_000
REJECTED = "fizz_datagrams_rejected_total{"
SENDER = """
import pickle, socket, sys, time
lot, to, count, pace = pickle.load(sys.stdin.buffer)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
begun = time.monotonic()
for number in range(count):
    sender.sendto(lot[number % len(lot)], to)
    if number % 100 == 99:
        time.sleep(max(0, begun + number / pace - time.monotonic()))
"""


def main():
    asked = arguments()
    in_memory()
    lab = Lab(asked)
    tables = [form, idle, change, watch, commands, start, forged, quiet]
    wrong = set(asked.tables) - {it.__name__ for it in tables}
    if wrong:
        sys.exit(f"there is no table {', '.join(sorted(wrong))}")
    try:
        lab.up()
        for table in tables:
            if not asked.tables or table.__name__ in asked.tables:
                before = load()
                table(lab)
                print(f"  (load {before} before, {load()} after; {time.strftime('%T')})\n", flush=True)
    finally:
        if not asked.keep:
            lab.down()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--fizz", default=str(here / "target/release/fizz"))
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quiet", type=int, default=600, help="seconds of the table `quiet`")
    parser.add_argument("--name", default="real")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("tables", nargs="*")
    return parser.parse_args()


def in_memory():
    """Goes on where labs' data is in memory, which nobody else sees and which goes with the last process."""
    if os.environ.get("IN_MEMORY") != str(os.getpid()):
        DATA.mkdir(parents=True, exist_ok=True)
        words = f'export IN_MEMORY=$$; mount -t tmpfs -o mode=755 fizz-real {DATA} && exec "$0" "$@"'
        unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", words]
        os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


def load():
    return " ".join(Path("/proc/loadavg").read_text().split()[:2])


def spread(times, unit=1e3):
    """The middle, the 99th of a hundred, and the last, in milliseconds."""
    times = sorted(times)
    at = lambda share: times[round((len(times) - 1) * share)] * unit
    return f"p50 {at(0.5):8.1f}  p99 {at(0.99):8.1f}  max {at(1):8.1f}"


class UnixHttp(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path, timeout=GIVEN_UP):
        super().__init__("fizz", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Lab:
    def __init__(self, asked):
        self.asked, self.nodes = asked, {}
        self.run = Path("/run/fizz-lab") / asked.name

    def up(self):
        """Leaves a lab as it is. Only `form` makes one itself."""
        if self.run.exists():
            self.look()
        elif self.asked.tables and self.asked.tables[0] != "form":
            self.boot()

    def boot(self, *words):
        """Seconds until `up` has ended: with a cluster, until all have seen all alive."""
        begun = time.monotonic()
        self.fizz(
            "lab",
            "up",
            "--name",
            self.asked.name,
            "--nodes",
            str(self.asked.nodes),
            "--runtime",
            "none",
            *words,
        )
        took = time.monotonic() - begun
        self.look()
        return took

    def look(self):
        status = self.fizz("lab", "status", "--name", self.asked.name, "-o", "json")
        self.nodes = {it["name"]: it for it in json.loads(status)["nodes"]}

    def down(self):
        self.fizz("lab", "down", "--name", self.asked.name)

    def fizz(self, *words, host=None):
        to = ["--host", f"unix://{self.socket(host)}"] if host else []
        done = subprocess.run(
            [self.asked.fizz, *to, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"fizz {' '.join(words[:3])} on {host}: {done.stderr or done.stdout}")
        return done.stdout

    def socket(self, node):
        return self.run / node / "fizz.sock"

    def connection(self, node, timeout=GIVEN_UP):
        return UnixHttp(self.socket(node), timeout)

    def ask(self, node, path, method="GET", body=None, connection=None):
        it = connection or self.connection(node)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        it.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = it.getresponse()
        text = answer.read()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{node} {method} {path}: {answer.status} {text[:300]}")
        return (
            json.loads(text)
            if answer.getheader("content-type", "").startswith("application/json")
            else text.decode()
        )

    def metrics(self, node):
        """By name, series of one name added up; and by their whole text."""
        found = {}
        for line in self.ask(node, "/metrics").splitlines():
            if line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                for name in {series, series.split("{")[0]}:
                    found[name] = found.get(name, 0) + float(value)
        return found

    def sums(self, *names):
        """Counts of all nodes together."""
        all_of_them = [self.metrics(it) for it in self.nodes]
        return {name: sum(it.get(name, 0) for it in all_of_them) for name in names}

    def all_see(self, count):
        return all(
            sum(it["state"] == "alive" for it in self.ask(node, "/v1/nodes")) == count for node in self.nodes
        )

    def cpu(self, node):
        """Processor seconds of a node's daemon so far."""
        fields = Path(f"/proc/{self.nodes[node]['daemon']}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, node):
        """RSS and PSS of a node's daemon, in MiB."""
        lines = Path(f"/proc/{self.nodes[node]['daemon']}/smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {it.split(":")[0]: int(it.split()[1]) for it in lines}
        return kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024


def form(lab):
    """Boots and forms it, one joining after the other, and then again all at once."""
    print(f"form: {lab.asked.nodes} nodes", flush=True)
    if lab.nodes:
        lab.fizz("lab", "down", "--name", lab.asked.name)
    took = lab.boot()
    print(
        f"  `lab up`, one joining after the other, until all see all alive: {took:.1f} s   (load {load()})",
        flush=True,
    )
    lab.fizz("lab", "down", "--name", lab.asked.name)
    print(f"  the same without a cluster: {lab.boot('--no-cluster'):.1f} s   (load {load()})", flush=True)
    first, *others = lab.nodes
    lab.fizz("init", host=first)
    token = lab.fizz("token", "create", "--uses", "0", host=first).strip()
    address = f"{lab.nodes[first]['address']}:{PORT}"
    begun = time.monotonic()
    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda it: lab.fizz("join", address, "--token", token, host=it), others))
    joined = time.monotonic() - begun
    wait("all see all", lambda: lab.all_see(len(lab.nodes)))
    whole = time.monotonic() - begun
    print(f"  all join the first at once: commands done after {joined:.2f} s, all see all after {whole:.2f} s")


def wait(what, is_so, seconds=120.0, every=0.05):
    end = time.monotonic() + seconds
    while not is_so():
        if end < time.monotonic():
            raise RuntimeError(f"it never came that {what}")
        time.sleep(every)


def idle(lab):
    """What each daemon costs while nothing happens."""
    print("idle: each daemon, for 60 s; goal: 40 MB RSS, 1 % of a core")
    time.sleep(15)
    traffic = lab.sums("fizz_datagrams_sent_bytes_total", "fizz_datagrams_sent_total")
    begun = time.monotonic()
    asked = {it: lab.cpu(it) for it in lab.nodes}
    time.sleep(60)
    took = time.monotonic() - begun
    shares = sorted((lab.cpu(it) - asked[it]) / took * 100 for it in lab.nodes)
    memory = [lab.memory(it) for it in lab.nodes]
    rss, pss = sorted(it[0] for it in memory), sorted(it[1] for it in memory)
    after = lab.sums(*traffic)
    for name, figures, unit in [("CPU", shares, "%"), ("RSS", rss, "MiB"), ("PSS", pss, "MiB")]:
        median, least, most = statistics.median(figures), figures[0], figures[-1]
        print(f"  {name}  median {median:6.2f} {unit}, max {most:6.2f}, min {least:6.2f}, sum {sum(figures):7.1f}")
    per = [(after[it] - traffic[it]) / took / len(lab.nodes) for it in traffic]
    print(
        f"  sent by each: {per[0]:.0f} bytes/s in {per[1]:.2f} datagrams/s; with 28 of IP and UDP for each: ",
        end="",
    )
    print(f"{per[0] + 28 * per[1]:.0f} bytes/s")
    largest = max(lab.nodes, key=lambda it: lab.memory(it)[0])
    threads = len(list(Path(f"/proc/{lab.nodes[largest]['daemon']}/task").iterdir()))
    print(f"  most memory: {largest}, {threads} threads")


class Listeners:
    """The event streams of all nodes, read by one thread as they come."""

    def __init__(self, lab):
        self.selector, self.heard, self.streams = selectors.DefaultSelector(), [], []
        for node in lab.nodes:
            it = lab.connection(node)
            it.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
            it.getresponse()
            it.sock.setblocking(False)
            self.streams.append(it)
            self.selector.register(it.sock, selectors.EVENT_READ, [node, b""])

    def until(self, is_wanted, count, seconds=GIVEN_UP):
        """When each node first said what is wanted, as (node, time) in the order of times."""
        seen, end = {}, time.monotonic() + seconds
        while len(seen) < count and time.monotonic() < end:
            for key, _ in self.selector.select(0.5):
                now = time.monotonic()
                node, rest = key.data
                try:
                    *lines, key.data[1] = (rest + key.fileobj.recv(65536)).split(b"\n")
                except BlockingIOError:
                    continue
                for line in lines:
                    if line.startswith(b"data:"):
                        event = json.loads(line[5:])
                        self.heard.append((node, event))
                        if node not in seen and is_wanted(event):
                            seen[node] = now
        return seen

    def close(self):
        for it in self.streams:
            it.close()


def change(lab):
    """A project is deployed at some node, with another label each time; all streams of events tell of it."""
    print("change: a deployment, from the request at one node until each of the others says so; goal: p99 1 s")
    names, each, last, answered = list(lab.nodes), [], [], []
    version = deploy(lab, names[0], -1)
    wait("all have it", lambda: all(versions(lab, it) == [version] for it in names))
    listeners = Listeners(lab)
    for number in range(lab.asked.rounds):
        writer, version = random.choice(names), version + 1
        wanted = lambda it: it["kind"] == "deployment.changed" and it.get("state") == str(version)
        listeners.until(wanted, 1, random.uniform(0.2, 1.0))
        begun = time.monotonic()
        asking = threading.Thread(
            target=lambda: (deploy(lab, writer, number), answered.append(time.monotonic() - begun))
        )
        asking.start()
        seen = listeners.until(wanted, len(names) - 1)
        asking.join()
        if len(seen) < len(names) - 1:
            print(f"  version {version} of {writer}: seen in {GIVEN_UP} s by {len(seen)} only")
        times = [at - begun for at in seen.values()]
        each += times
        last.append(max(times))
    listeners.close()
    print(f"  {len(last)} changes; each node ms {spread(each)}")
    print(f"          all nodes ms {spread(last)}")
    print(f"    answer to writer ms {spread(answered)}")


def deploy(lab, node, number):
    service = {"image": "nothing", "deploy": {"replicas": 0}, "labels": {"round": str(number)}}
    service |= {"command": None, "entrypoint": None, "network_mode": "none"}
    lab.ask(node, "/v1/deployments", "POST", {"model": {"name": "news", "services": {"s": service}}})
    return versions(lab, node)[0]


def versions(lab, node):
    return [it["version"] for it in lab.ask(node, "/v1/deployments")]


def watch(lab):
    """`fizz node label` at some node; all are asked in turn until each shows it."""
    print("watch: `fizz lab exec NODE -- fizz node label`, until each node shows it; goal: p99 1 s")
    names = list(lab.nodes)
    connections = {it: lab.connection(it) for it in names}
    each, last, told, rounds = [], [], [], []
    for number in range(lab.asked.rounds):
        writer = random.choice(names)
        ids = {it: f"/v1/nodes/{writer}" for it in names}
        time.sleep(random.uniform(0.2, 1.0))
        words = [
            "lab",
            "exec",
            "--name",
            lab.asked.name,
            writer,
            "--",
            lab.asked.fizz,
            "node",
            "label",
            writer,
            f"round={number}",
        ]
        begun = time.monotonic()
        command = subprocess.Popen(
            [lab.asked.fizz, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        seen, waiting = {}, set(names)
        while waiting and time.monotonic() < begun + GIVEN_UP:
            round_begun = time.monotonic()
            for node in sorted(waiting):
                labels = lab.ask(node, ids[node], connection=connections[node])["labels"]
                if labels.get("round") == str(number):
                    seen[node] = time.monotonic() - begun
            waiting -= set(seen)
            rounds.append(time.monotonic() - round_begun)
            if not seen:
                time.sleep(0.005)
        if command.wait():
            raise RuntimeError(command.stderr.read())
        if waiting:
            print(f"  label round={number} of {writer}: not seen in {GIVEN_UP} s by {sorted(waiting)}")
        each += seen.values()
        last.append(max(seen.values()))
        told.append(min(seen.values()))
    print(f"  {len(last)} changes; each node ms {spread(each)}")
    print(f"          all nodes ms {spread(last)}")
    print(f"  first to last node ms {spread([b - a for a, b in zip(told, last)])}")
    print(f"  of that, command until the first node shows it ms {spread(told)}")
    print(f"  resolution: asking all takes {statistics.median(rounds) * 1e3:.1f} ms (max {max(rounds) * 1e3:.1f})")


def commands(lab):
    """How long a command takes at one node."""
    print("commands: each 40 times, at some node each time")
    names = list(lab.nodes)
    deploy(lab, names[0], -2)
    time.sleep(1)
    for words in [
        ["version"],
        ["nodes"],
        ["nodes", "-o", "json"],
        ["ps", "-p", "news"],
        ["cluster", "status"],
    ]:
        times = []
        for _ in range(40):
            begun = time.monotonic()
            lab.fizz(*words, host=random.choice(names))
            times.append(time.monotonic() - begun)
        print(f"  fizz {' '.join(words):<16} ms {spread(times)}")
    for path in ["/v1/nodes", "/v1/containers", "/v1/cluster"]:
        times = []
        for _ in range(200):
            node = random.choice(names)
            begun = time.monotonic()
            lab.ask(node, path)
            times.append(time.monotonic() - begun)
        print(f"  GET {path:<17} ms {spread(times)}")


def start(lab):
    """A daemon is killed and started again."""
    print(
        "start: a killed daemon is started, until it answers, is ready (its state compared), and all see all alive"
    )
    names = list(lab.nodes)
    for away, rounds in [(0.0, 10), (15.0, 3)]:
        answers, ready, seen = [], [], []
        for _ in range(rounds):
            node, other = random.sample(names, 2)
            machine, daemon = lab.nodes[node]["pid"], lab.nodes[node]["daemon"]
            os.kill(daemon, 9)
            wait("it ended", lambda: not Path(f"/proc/{daemon}").exists(), every=0.001)
            time.sleep(away)
            begun = time.monotonic()
            os.kill(machine, 1)
            for times, path in [(answers, "/healthz"), (ready, "/readyz")]:
                wait(f"{node} {path}", lambda: answers_to(lab, node, path), every=0.002)
                times.append(time.monotonic() - begun)
            wait(f"all see {node}", lambda: lab.all_see(len(names)))
            seen.append(time.monotonic() - begun)
            lab.look()
        print(f"  away for {away:.0f} s, {rounds} times: answers ms      {spread(answers)}")
        print(f"                         /readyz is 200 ms  {spread(ready)}")
        print(f"                         all see all ms     {spread(seen)}", flush=True)


def answers_to(lab, node, path):
    try:
        lab.ask(node, path)
        return True
    except (OSError, RuntimeError, http.client.HTTPException):
        return False


class Network:
    """Does something in the network of a node, on a thread of its own."""

    def __init__(self, lab, node):
        self.network = open(f"/proc/{lab.nodes[node]['pid']}/ns/net")

    def __call__(self, deed):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self.within, deed).result()

    def within(self, deed):
        if ctypes.CDLL(None, use_errno=True).setns(self.network.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        return deed()


def caught(count, port=PORT):
    """Datagrams that came to this network's port, as they are."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    raw.settimeout(5)
    found = []
    while len(found) < count:
        packet = raw.recv(2048)
        header = (packet[0] & 15) * 4
        if int.from_bytes(packet[header + 2 : header + 4], "big") == port:
            found.append(packet[header + 8 :])
    return found


def forged(lab):
    """What 100,000 datagrams cost that nobody of the cluster has sent, and what is said to them."""
    print(f"forged: {FORGED:,} datagrams of no member, {PACE:,} a second; processor time of the daemon")
    names = list(lab.nodes)
    victim = names[0]
    to = (lab.nodes[victim]["address"], PORT)
    catch = Network(lab, victim)
    real = catch(lambda: caught(20))[0]
    never = lambda it: real[:12] + (2**32 + it).to_bytes(5, "big") + os.urandom(len(real) - 17)
    suspicions = "fizz_suspicions_total"
    suspected = lab.sums(suspicions)[suspicions]
    with Stranger(lab) as stranger:
        for name, make, pace in [
            ("random, 100 bytes", lambda _: os.urandom(100), PACE),
            ("random, 1,100 bytes", lambda _: os.urandom(1100), PACE),
            (
                f"a member's header, wrong seal, {len(real)} bytes",
                lambda _: real[:17] + os.urandom(len(real) - 17),
                PACE,
            ),
            ("... 1,100 bytes", lambda _: real[:17] + os.urandom(1100 - 17), PACE),
            ("... each with a count that was never used", never, PACE),
            ("... as fast as one process can", never, 1e9),
            ("one that was real, again", lambda _: real, PACE),
        ]:
            lot = [make(it) for it in range(2000)]
            quiet = rate(lab, victim, 5)
            before, rejected, begun = lab.cpu(victim), lab.metrics(victim), time.monotonic()
            stranger.send(lot, to, FORGED, pace)
            sent = time.monotonic() - begun
            time.sleep(2)
            spent = lab.cpu(victim) - before - quiet * (time.monotonic() - begun)
            rejections = {k: v - rejected.get(k, 0) for k, v in lab.metrics(victim).items() if REJECTED in k}
            reasons = {k.split('"')[1]: round(v) for k, v in rejections.items() if v}
            read = max(1, sum(reasons.values()))
            each = f"{spent / read * 1e6:5.1f} us for each that was read"
            print(
                f"  {name:<46} {each}, {spent:.2f} s in all; sent in {sent:.1f} s, refused {reasons}",
                flush=True,
            )
        print(f"  what came back to that machine: {stranger.heard()}")
        suspected = lab.sums(suspicions)[suspicions] - suspected
        print(f"  suspicions at all nodes: {suspected:.0f}; all see all alive: {lab.all_see(len(names))}")


def rate(lab, node, seconds):
    before = lab.cpu(node)
    time.sleep(seconds)
    return (lab.cpu(node) - before) / seconds


class Stranger:
    """An address of a namespace of its own on the lab's switch; counts what comes to it but ARP."""

    def __init__(self, lab):
        status = subprocess.run(
            ["pgrep", "-f", f"^fizz lab machine {lab.asked.name} switch$"], capture_output=True, text=True
        )
        self.switch = status.stdout.split()[0]
        self.address = lab.nodes[next(iter(lab.nodes))]["address"].rsplit(".", 1)[0] + ".254"

    def __enter__(self):
        holder = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
        time.sleep(0.3)
        self.holder = holder
        run = lambda *words: subprocess.run(words, check=True, capture_output=True)
        switch, own = ["nsenter", f"--net=/proc/{self.switch}/ns/net"], [
            "nsenter",
            f"--net=/proc/{holder.pid}/ns/net",
        ]
        bridge = json.loads(run(*switch, "ip", "-j", "link", "show", "type", "bridge").stdout)[0]["ifname"]
        run(
            *switch,
            "ip",
            "link",
            "add",
            "stranger",
            "type",
            "veth",
            "peer",
            "name",
            "card",
            "netns",
            str(holder.pid),
        )
        run(*switch, "ip", "link", "set", "stranger", "master", bridge, "up")
        run(*own, "ip", "address", "add", f"{self.address}/24", "dev", "card")
        run(*own, "ip", "link", "set", "card", "up")
        run(*own, "nft", "add table ip count; add chain ip count in { type filter hook input priority 0; }")
        run(*own, "nft", "add rule ip count in counter")
        self.own = own
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()

    def send(self, lot, to, count, pace):
        """In a process of its own, at most so many a second."""
        given = pickle.dumps((lot, to, count, pace))
        subprocess.run([*self.own, sys.executable, "-c", SENDER], input=given, check=True)

    def heard(self):
        text = subprocess.run(
            [*self.own, "nft", "list", "table", "ip", "count"], capture_output=True, text=True
        ).stdout
        return next(it.strip() for it in text.splitlines() if "counter" in it)


def quiet(lab):
    """False suspicions while nothing happens."""
    seconds = lab.asked.quiet
    print(f"quiet: {seconds} s in which nothing happens; goal: nobody is suspected")
    names = (
        "fizz_suspicions_total",
        "fizz_refutations_total",
        "fizz_state_fetches_total",
        "fizz_datagrams_rejected_total",
    )
    listeners = Listeners(lab)
    before, begun, loads = lab.sums(*names), time.monotonic(), []
    cpu = {it: lab.cpu(it) for it in lab.nodes}
    while time.monotonic() < begun + seconds:
        listeners.until(lambda _: False, 1, min(30, begun + seconds - time.monotonic()))
        loads.append(float(load().split()[0]))
    after = lab.sums(*names)
    kinds = {}
    for node, it in listeners.heard:
        key = f"{it['kind']} {it.get('state', '')}"
        kinds[key] = kinds.get(key, 0) + 1
        if it.get("state") in ("suspicious", "dead"):
            print(f"    {node} at {it['at_ms']}: {it.get('name')} is {it['state']}")
    listeners.close()
    for name in names:
        print(f"  {name}, all nodes: {after[name] - before[name]:.0f}")
    took = time.monotonic() - begun
    shares = sorted((lab.cpu(it) - cpu[it]) / took * 100 for it in lab.nodes)
    rss = sorted(lab.memory(it)[0] for it in lab.nodes)
    print(f"  events: {kinds or 'none'}; load {min(loads)} to {max(loads)}")
    print(f"  CPU median {statistics.median(shares):.2f} %, max {shares[-1]:.2f} %")
    print(f"  RSS median {statistics.median(rss):.1f} MiB, max {rss[-1]:.1f}")


if __name__ == "__main__":
    main()
