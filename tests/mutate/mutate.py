"""./dev mutate: puts small mistakes into stack/ and runtime/, one at a time, and asks whether the
tests see them.

It works in a copy of the tree (build/mutate/tree) and never writes to the tree itself. A mutant is
built, with its unit's assertions, and run against the tests of its room (rooms.txt); it is caught
when one of them fails, hangs or crashes. The seed decides which mistakes are drawn, so that a run
can be repeated. equivalents.txt names those that change nothing: they are not drawn.
"""
import argparse
import collections
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import time

import sites

TREE = pathlib.Path(__file__).resolve().parents[2]
WORK = TREE / "build" / "mutate"
COPY = WORK / "tree"
BUILD = COPY / "build" / "release"  # as in the tree, so that the compiler cache knows all of it
HERE = pathlib.Path(__file__).resolve().parent

BUILD_LIMIT_S = 1800  # one unit and its programs; generous, since the machine may be shared
# A program may use five times the processor time and ten times the time that it took without a
# mistake, and this much more: the machine may be busy.
MORE_CPU_S, MORE_S = 10, 120
MEMORY_LIMIT = 6 << 30
FILE_LIMIT = 1 << 30
DRAWS_PER_MUTANT = 4  # those that do not compile are drawn again, but not for ever


def say(text):
    print(text, flush=True)


def copy_tree():
    """Brings the copy to the tree's state; what is the same keeps its time, so little is rebuilt."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=TREE, check=True, capture_output=True).stdout.decode()
    wanted = {name for name in listed.split("\0") if name and (TREE / name).is_file()}
    for path in COPY.rglob("*"):
        name = str(path.relative_to(COPY))
        if path.is_file() and not name.startswith("build/") and name not in wanted:
            path.unlink()
    for name in wanted:
        source, target = TREE / name, COPY / name
        content = source.read_bytes()
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        target.chmod(source.stat().st_mode)


def rooms():
    """folder -> steps, each a list of test programs, some with the cases wanted: PROGRAM:CASES."""
    out = {}
    for line in (HERE / "rooms.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            folder, programs = line.split(None, 1)
            out[folder] = [step.split() for step in programs.split("|")]
    return out


def room_of(file, known):
    parent = pathlib.PurePosixPath(file).parent
    for folder in [parent, *parent.parents]:
        if str(folder) in known:
            return str(folder)
    return None


def equivalents():
    """What changes nothing: an edit on each line, its reason indented below it."""
    lines = (HERE / "equivalents.txt").read_text().splitlines()
    return {line for line in lines if line and line[0] not in "# "}


def sources(only, units):
    """The files that mistakes are put into: all but public headers, which rebuild everything."""
    for top in ("stack", "runtime"):
        for path in sorted((COPY / top).rglob("*.cpp" if units else "*.[ch]pp")):
            file = str(path.relative_to(COPY))
            if "/include/" not in file and file.startswith(tuple(only.split(","))):
                yield file


def run(command, limit, log, cpu=None, **more):
    """Runs in a group of its own, ended whole at the limit. Gives the exit code, or None."""
    def bounded():
        if cpu:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(log, "wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=subprocess.STDOUT, start_new_session=True,
                                 preexec_fn=bounded, **more)
        try:
            return child.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()


class Bench:
    """The copy's build: builds programs, runs them, remembers how long each takes when all is well."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.usual = {}  # program -> processor seconds and seconds, or None where it fails by itself

    def configure(self):
        if run(["cmake", "--preset", "release"], 600, WORK / "configure.log", cwd=COPY) != 0:
            sys.exit(f"mutate: configuring failed, see {WORK}/configure.log")
        # A precompiled header from the cache does not know this tree's headers again.
        if not self.build(["weir_test_headers"], CCACHE_DISABLE="1"):
            sys.exit(f"mutate: the tests' headers do not build, see {WORK}/build.log")

    def build(self, programs, **environment):
        """True when they are built."""
        targets = {program.split(":")[0] for program in programs}
        return run(["ninja", "-C", BUILD, f"-j{self.jobs}", *targets], BUILD_LIMIT_S,
                   WORK / "build.log",
                   env=dict(os.environ, NINJA_STATUS="[%f/%t] ", **environment)) == 0

    def failure(self, program):
        """None when the program passes, else what to say of it."""
        cpu, clock = self.usual.get(program) or (60, 600)
        log = WORK / "run.log"
        name, _, cases = program.partition(":")
        wanted = [f"--test-case={cases}"] if cases else []
        code = run([BUILD / "bin/tests" / name, "--abort-after=1", "--no-version", *wanted],
                   MORE_S + 10 * clock, log, MORE_CPU_S + int(5 * cpu), cwd=BUILD)
        if code == 0:
            return None
        if code is None or code == -signal.SIGXCPU:
            return f"{program} (hangs)"
        names = re.findall(r"^TEST CASE:\s+(.*)$", log.read_text(errors="replace"), re.M)
        how = f"signal {-code}" if code < 0 else (names[-1] if names else f"exit code {code}")
        return f"{program} ({how})"

    def prepare(self, programs):
        """Builds and runs each once without a mistake; those that fail already judge nothing."""
        fresh = [p for p in programs if p not in self.usual]
        if not fresh:
            return
        if not self.build(fresh):
            sys.exit(f"mutate: {' '.join(fresh)} do not build, see {WORK}/build.log")
        for program in fresh:
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            problem = self.failure(program)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            self.usual[program] = None if problem else (used, time.monotonic() - began)
            if problem:
                say(f"  {problem} fails without a mistake: it judges nothing in this run")


def judge(bench, site, steps):
    """'invalid', None for a survivor, or the test that saw it."""
    path = COPY / site.file
    original = path.read_text()
    for step in steps:  # before the mistake is there: what each program does without it
        bench.prepare(step)
    try:
        # The build is an optimized one, whose programs are known to the compiler cache.
        path.write_text("#undef NDEBUG\n#include <cassert>\n" + sites.apply(site, original))
        for step in steps:
            programs = [p for p in step if bench.usual[p] is not None]
            # What a mutant gave stays out of the compiler cache.
            if programs and not bench.build(programs, CCACHE_READONLY="1"):
                return "invalid"
            for program in programs:
                problem = bench.failure(program)
                if problem:
                    return problem
        return None
    finally:
        path.write_text(original)


def draw(arguments):
    """The mistakes in the order in which they are tried."""
    found = []
    known = equivalents()
    for file in sources(arguments.only, arguments.units):
        all_of_file = sites.of_file(file, (COPY / file).read_text())
        found.extend(site for site in all_of_file if site.key() not in known)
    if arguments.place:
        file, line = arguments.place.rsplit(":", 1)
        return [site for site in found if site.file == file and site.line == int(line)]
    chosen = random.Random(arguments.seed)
    # First the kind, then the place: conditions would be most of all, exchanges next to none.
    kinds = collections.defaultdict(list)
    for site in found:
        kinds[site.kind].append(site)
    for list_of_kind in kinds.values():
        chosen.shuffle(list_of_kind)
    order = []
    while kinds:
        kind = chosen.choice(sorted(kinds))
        order.append(kinds[kind].pop())
        if not kinds[kind]:
            del kinds[kind]
    return order


def report(results, seed):
    """The score by folder, then the survivors."""
    folders = collections.defaultdict(lambda: [0, 0])
    for site, outcome in results:
        folder = str(pathlib.PurePosixPath(site.file).parent)
        folders[folder][0] += outcome is not None
        folders[folder][1] += 1
    say("\ncaught of all  folder")
    for folder, (caught, count) in sorted(folders.items()):
        say(f"{caught:6} of {count:3}  {folder}")
    caught = sum(outcome is not None for _, outcome in results)
    survivors = [site.text() for site, outcome in results if outcome is None]
    share = f", {100 * caught / len(results):.0f}%" if results else ""
    say(f"{caught:6} of {len(results):3}  in all{share} (seed {seed})")
    say("\nsurvivors:" if survivors else "\nno survivors")
    for text in survivors:
        say("  " + text)


def main():
    parser = argparse.ArgumentParser(prog="./dev mutate", description=__doc__.split("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--seed", type=int, help="draws the same ones again")
    parser.add_argument("--only", default="", metavar="FOLDER,FOLDER..", help="stack/tcp ...")
    parser.add_argument("--units", action="store_true", help="leaves headers out, which cost most")
    parser.add_argument("--place", metavar="FILE:LINE", help="every mistake that fits this line")
    parser.add_argument("--minutes", type=float, default=600, help="draws none after this long")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="shows them and builds nothing")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1_000_000)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it started ends with it
    WORK.mkdir(parents=True, exist_ok=True)
    copy_tree()
    order = draw(arguments)
    count = len(order) if arguments.place else arguments.count
    if arguments.list:
        for site in order[:count]:
            say(site.text())
        return
    say(f"mutate: seed {arguments.seed}, {count} of {len(order)} possible mistakes")
    known, bench = rooms(), Bench(arguments.jobs)
    bench.configure()
    results, invalid, started = [], 0, time.monotonic()
    for site in order:
        tried = len(results) + invalid
        if len(results) >= count or tried >= DRAWS_PER_MUTANT * count + 10:
            break
        if time.monotonic() - started > 60 * arguments.minutes:
            say(f"mutate: {arguments.minutes:g} minutes are over")
            break
        room = room_of(site.file, known)
        if room is None:
            sys.exit(f"mutate: rooms.txt has no tests for {site.file}")
        outcome = judge(bench, site, known[room])
        if outcome == "invalid":
            invalid += 1
            continue
        results.append((site, outcome))
        say(f"[{len(results)}/{count}, {time.monotonic() - started:.0f} s] {site.text()}\n"
            f"    {'caught by ' + outcome if outcome else 'SURVIVED'}")
    report(results, arguments.seed)


main()
