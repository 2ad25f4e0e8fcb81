#!/usr/bin/env python3
"""A rolling update of ten replicas: `fizz up --wait` beside `docker stack deploy` on a swarm of one node.

    sudo tests/bench/rollout.py [--fizz target/release/fizz] [--rounds 5] [TABLE...]

Boots a lab of its own of one node (`fizz lab`, runtime `docker`), makes the same engine a swarm too, and removes
it all at the end. Both get the same file and the same two images, which are made here, in turns. Timed is from
the start of the command until ten containers of the wanted image are well and no other runs, as the engine
and who checks them say, asked each 50 ms: the engine checks a swarm's, Fizz its own. Tables:

  written     two at a time, start-first, `monitor: 1s`. Fizz goes on when a group was well for `monitor`; a swarm
              goes on at once, and looks back for `monitor` in the end
  watched     the same, and the swarm waits as long between groups (`delay: 1s`), as Fizz does by `monitor`
  unwatched   `monitor: 1ms`: neither waits, which leaves what the orchestrators themselves take

Needs docker.io and busybox-static. What counts are the ratios: beside other work both are slower.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from real import UnixHttp, load

REPLICAS = 10
EVERY = 0.05
GIVEN_UP = 120.0
STACK = "bench"
TABLES = {
    "written": ("as it is written: monitor 1s", {}, {}),
    "watched": ("each group watched for 1 s by both", {}, {"delay": "1s"}),
    "unwatched": ("not watched: monitor 1ms", {"monitor": "1ms"}, {"monitor": "1ms"}),
}


def main():
    asked = arguments()
    wrong = set(asked.tables) - set(TABLES)
    if wrong:
        sys.exit(f"there is no table {', '.join(sorted(wrong))}")
    lab = Lab(asked)
    try:
        lab.up()
        for name in asked.tables or TABLES:
            compare(lab, name)
    finally:
        lab.down()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--fizz", default=str(here / "target/release/fizz"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="rollout")
    parser.add_argument("--log", action="store_true", help="print what each command says, and when")
    parser.add_argument("tables", nargs="*")
    return parser.parse_args()


class Lab:
    """A node with an engine, Fizz and a swarm on it."""

    def __init__(self, asked):
        self.asked, self.dir = asked, Path(tempfile.mkdtemp(prefix="fizz-rollout-"))
        run = Path("/run/fizz-lab") / asked.name / "a"
        self.engine, self.daemon = run / "runtime.sock", run / "fizz.sock"

    def up(self):
        self.run([self.asked.fizz, "lab", "up", "--name", self.asked.name, "--nodes", "1", "--runtime", "docker"])
        for version in (1, 2):
            self.image(version)
        self.on("docker", "swarm", "init", "--advertise-addr", "127.0.0.1")

    def down(self):
        self.run([self.asked.fizz, "lab", "down", "--name", self.asked.name])
        shutil.rmtree(self.dir)

    def image(self, version):
        """Busybox and its version, for want of a registry; it ends when it is asked to."""
        root = self.dir / f"image-{version}"
        (root / "bin").mkdir(parents=True)
        (root / "tmp").mkdir()
        shutil.copy(shutil.which("busybox"), root / "bin")
        for name in ("sh", "sleep", "true"):
            (root / "bin" / name).symlink_to("busybox")
        (root / "version").write_text(f"{version}\n")
        archive = root.with_suffix(".tar")
        self.run(["tar", "-C", str(root), "-cf", str(archive), "."])
        command = json.dumps(["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"])
        changes = ["--change", "ENV PATH=/bin", "--change", f"CMD {command}"]
        self.on("docker", "import", *changes, str(archive), f"rollout:{version}")

    def file(self, version, update):
        """The Compose file; JSON is YAML."""
        update = {"parallelism": 2, "order": "start-first", "monitor": "1s", **update}
        service = {
            "image": f"rollout:{version}",
            "healthcheck": {"test": ["CMD", "true"], "interval": "1s"},
            "deploy": {"replicas": REPLICAS, "update_config": update},
        }
        path = self.dir / f"compose-{version}.yaml"
        # A swarm wants a version; Fizz takes the file without.
        path.write_text(json.dumps({"version": "3.8", "services": {"web": service}}))
        return str(path)

    def on(self, *words):
        return self.run(self.there(*words))

    def there(self, *words):
        return [self.asked.fizz, "lab", "exec", "--name", self.asked.name, "a", "--", *words]

    def run(self, words):
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout

    def ask(self, socket, path):
        connection = UnixHttp(socket)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else []
        finally:
            connection.close()

    def running(self):
        return self.ask(self.engine, "/containers/json")


class Fizz:
    name = "fizz up --wait"

    def __init__(self, lab):
        self.lab = lab

    def deploy(self, file):
        return self.lab.there(self.lab.asked.fizz, "-p", STACK, "up", "-f", file, "--wait")

    def well(self):
        """What runs, by its image, and whether it is well: the engine's word and the daemon's."""
        known = {it["runtime_id"]: it["state"] for it in self.lab.ask(self.lab.daemon, "/v1/containers")}
        return [(it["Image"], known.get(it["Id"]) == "healthy") for it in self.lab.running()]

    def remove(self):
        self.lab.on(self.lab.asked.fizz, "-p", STACK, "down")


class Swarm:
    name = "docker stack deploy"

    def __init__(self, lab):
        self.lab = lab
        flag = "--detach" in lab.on("docker", "stack", "deploy", "--help")
        self.flags = ["--detach=false"] if flag else []

    def deploy(self, file):
        words = ["docker", "stack", "deploy", *self.flags, "--resolve-image", "never", "-c", file, STACK]
        return self.lab.there(*words)

    def well(self):
        return [(it["Image"], "(healthy)" in it["Status"]) for it in self.lab.running()]

    def remove(self):
        self.lab.on("docker", "stack", "rm", STACK)


class Deed:
    """A command, and what becomes of the containers meanwhile."""

    def __init__(self, tool, file, version):
        image, begun, before = f"rollout:{version}", time.monotonic(), None
        command = subprocess.Popen(tool.deploy(file), stdin=subprocess.DEVNULL, text=True, **streams())
        said = []
        reader = threading.Thread(target=self.read, args=(command.stdout, said, begun), daemon=True)
        reader.start()
        self.short, self.least, self.most, self.took, self.told = 0.0, REPLICAS, 0, None, None
        while self.took is None or self.told is None:
            now = time.monotonic() - begun
            containers = tool.well()
            wells = sum(well for _, well in containers)
            self.least, self.most = min(self.least, wells), max(self.most, len(containers))
            if wells < REPLICAS and before is not None:
                self.short += now - before
            before = now
            wanted = [well for name, well in containers if name == image]
            if self.took is None and len(containers) == len(wanted) == REPLICAS and all(wanted):
                self.took = now
            if self.told is None and command.poll() is not None:
                self.told = now
            if GIVEN_UP < now:
                command.kill()
                raise RuntimeError(f"{tool.name}: after {now:.0f} s there is {containers}\n{text(said)}")
            time.sleep(EVERY)
        reader.join()
        if command.returncode:
            raise RuntimeError(f"{tool.name}: {text(said)}")
        if tool.lab.asked.log:
            print(text(said), flush=True)

    @staticmethod
    def read(stream, said, begun):
        said.extend((time.monotonic() - begun, line.rstrip()) for line in stream)


def streams():
    return {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}


def text(said):
    return "\n".join(f"    {at:7.3f} {line}" for at, line in said)


def compare(lab, name):
    title, ours, theirs = TABLES[name]
    tools = [(Fizz(lab), ours), (Swarm(lab), theirs)]
    print(f"{name}: {REPLICAS} replicas, two at a time, start-first, {title}; {lab.asked.rounds} rounds")
    found = {tool.name: [] for tool, _ in tools}
    for number in range(lab.asked.rounds):
        before = load()
        # Who goes first takes turns, too.
        for tool, update in tools if number % 2 == 0 else tools[::-1]:
            first = Deed(tool, lab.file(1, update), 1)
            time.sleep(2)
            second = Deed(tool, lab.file(2, update), 2)
            found[tool.name].append((first, second))
            until_gone(lab, tool)
        pairs = [found[tool.name][-1] for tool, _ in tools]
        each = ", ".join(f"{first.took:.2f} and {second.took:.2f} s" for first, second in pairs)
        print(f"  round {number + 1}: first deploy and update {each}   (load {before} to {load()})", flush=True)
    print(f"  {'median (least to most)':<22} {'first deploy, s':>22} {'update, s':>22} {'command says so, s':>22}")
    for tool, _ in tools:
        firsts, seconds = zip(*found[tool.name])
        columns = [[it.took for it in firsts], [it.took for it in seconds], [it.told for it in seconds]]
        print(f"  {tool.name:<22} {' '.join(f'{spread(it):>22}' for it in columns)}")
    for what, at, of in [("first deploy", 0, "took"), ("update", 1, "took"), ("command", 1, "told")]:
        times = [[getattr(it[at], of) for it in found[tool.name]] for tool, _ in tools]
        ratios = [a / b for a, b in zip(*times)]
        middle = statistics.median(times[0]) / statistics.median(times[1])
        print(f"  {what:<12} ratio of medians {middle:.2f}, of rounds {min(ratios):.2f} to {max(ratios):.2f}")
    for tool, _ in tools:
        updates = [second for _, second in found[tool.name]]
        short = sum(it.short for it in updates)
        print(
            f"  {tool.name}: in all updates fewer than {REPLICAS} were well for {short:.2f} s, at least "
            f"{min(it.least for it in updates)}; at most {max(it.most for it in updates)} ran"
        )
    print(f"  (load {load()}; {time.strftime('%T')})\n", flush=True)


def spread(times):
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def until_gone(lab, tool):
    """Removes it, until nothing is left: containers, ended ones too, and networks."""
    begun = asked = time.monotonic()
    tool.remove()
    while left := leftovers(lab):
        now = time.monotonic()
        if begun + GIVEN_UP < now:
            raise RuntimeError(f"{tool.name}: what was removed is still there: {left}")
        if asked + 20 < now:
            print(f"    {tool.name}: after {now - begun:.0f} s there is still {left}; removed once more", flush=True)
            asked = now
            tool.remove()
        time.sleep(0.2)
    time.sleep(1)


def leftovers(lab):
    containers = [it["Names"][0] for it in lab.ask(lab.engine, "/containers/json?all=1")]
    networks = [it for it in lab.ask(lab.engine, "/networks") if STACK in it["Name"]]
    return containers + [f"{it['Name']}, {it['Driver']} of {it['Labels']}" for it in networks]


if __name__ == "__main__":
    main()
