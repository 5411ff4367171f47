# What every coroutine waits for, in gdb: of a core dump, or of a process that stands still.
#
#   gdb -x weir_gdb.py ./server core          (gdb) weir-ps --group
#   gdb -x weir_gdb.py -p PID                 (gdb) weir-locals 3
#
# It reads memory and calls nothing. The program needs full debug information where it includes
# weir's headers (-g; clang: -g -fstandalone-debug), optimized or not; weir itself needs none.
import struct

import gdb

WEIR = "weir::detail::"
DEEPEST = 64  # coroutines of a chain, as weir-ps shows
STACK = 1 << 18  # bytes of a thread's stack in which a shard is looked for


class Unreadable(Exception):
    """The program, or its debug information, is not as this script knows it."""


def type_of(name):
    try:
        found = gdb.lookup_type(name).strip_typedefs()
    except gdb.error:
        found = None
    if found is None or not found.fields():
        raise Unreadable(f"no type {name}: build the program with -g (clang: -g -fstandalone-debug)")
    return found


def field_of(whole, *names):
    """Offset in bytes, type and first bit of a member, those of bases included."""
    at, bit = 0, 0
    for name in names:
        found = find_field(whole, name)
        if found is None:
            raise Unreadable(f"{whole} has no {name}: this script is of another version of weir")
        at, bit, whole = at + found[0] // 8, found[0] % 8, found[1]
    return at, whole, bit


def find_field(whole, name):
    for field in whole.fields():
        if not hasattr(field, "bitpos"):
            continue
        if field.name == name or (field.is_base_class and field.name and field.name.split("<")[0] == WEIR + name):
            return field.bitpos, field.type.strip_typedefs()
    for field in whole.fields():
        if field.is_base_class:
            inside = find_field(field.type.strip_typedefs(), name)
            if inside is not None:
                return field.bitpos + inside[0], inside[1]
    return None


class Memory:
    def __init__(self):
        self.inferior = gdb.selected_inferior()

    def bytes(self, at, size):
        try:
            return bytes(self.inferior.read_memory(at, size))
        except gdb.error as error:
            raise Unreadable(str(error)) from error

    def word(self, at):
        return struct.unpack("<Q", self.bytes(at, 8))[0]

    def text(self, at):
        if at == 0:
            return ""
        out = b""
        while b"\0" not in out and len(out) < 4096:
            out += self.bytes(at + len(out), 64 if at % 4096 + 64 <= 4096 else 1)
        return out.split(b"\0")[0].decode(errors="replace")


def symbol_at(address):
    """The name of what stands at an address, without the offset; '' for none."""
    said = gdb.execute(f"info symbol {address:#x}", to_string=True).strip()
    name = said.rsplit(" in section", 1)[0]
    return "" if said.startswith("No symbol") or " + " in name.rsplit(")", 1)[-1] else name


def closing(text, start):
    depth = 0
    for i in range(start, len(text)):
        depth += text[i] in "(<{["
        depth -= text[i] in ")>}]"
        if depth == 0:
            return i
    return len(text)


def name_in(pretty):
    """'app::session' of 'weir::task<> app::session(weir::tcp_stream)', as runtime/core/place.cpp has it."""
    begin = i = 0
    while i < len(pretty):
        if pretty[i] == " ":
            begin = i + 1
        if pretty[i] in "<{[":
            i = closing(pretty, i)
        elif pretty[i] == "(":
            end = closing(pretty, i)
            if not pretty[end + 1:].startswith("::") and not pretty[begin:i].endswith("operator"):
                return pretty[begin:i]
            i = end
        i += 1
    return pretty[begin:]


def for_people(ns):
    return f"{ns / 1e3:.0f} us" if ns < 1e6 else f"{ns / 1e6:.1f} ms" if ns < 1e9 else f"{ns / 1e9:.1f} s"


class Layout:
    """Where things stand, by the program's own debug information."""

    def __init__(self):
        node, state = type_of(WEIR + "cancel_node"), type_of(WEIR + "cancel_state")
        self.next, self.kind = field_of(node, "next_")[0], field_of(node, "kind_")[0]
        self.state_node = field_of(state, "cancel_node")[0]
        self.list = field_of(state, "list_")[0]
        shard = type_of("weir::shard")
        self.shard_size = shard.sizeof
        self.index, self.cancel = field_of(shard, "index_")[0], field_of(shard, "cancel_")[0]
        self.stopping = field_of(shard, "stopping_")[0]
        self.now, self.ready = field_of(shard, "now_")[0], field_of(shard, "ready_", "head_")[0]
        waiting = type_of(WEIR + "ready_node")
        self.ready_next, self.handle = field_of(waiting, "next")[0], field_of(waiting, "handle")[0]
        promise = type_of(WEIR + "promise_base")
        self.promise = max(16, promise.alignof)
        self.parent = field_of(promise, "turn", "handle")[0]
        self.on_done = field_of(promise, "on_done")[0]
        try:
            self.where = field_of(promise, "where")[0]
            at, _, bit = field_of(promise, "waits_since")
            self.since = (at - at % 8, (at % 8) * 8 + bit)
        except Unreadable as problem:
            raise Unreadable("places are not there: it was built with WEIR_WITH_TASKS=OFF") from problem

    def waiter_in(self, kind):
        """How far a waiting object's handle is from the node that stands in the tree."""
        of = type_of(kind)
        return field_of(of, "ready_node")[0] + self.handle - field_of(of, "cancel_node")[0]


class Task:
    def __init__(self, shard, operation, frame, asked):
        self.shard, self.operation, self.frame, self.asked = shard, operation, frame, asked
        self.chain, self.belongs, self.waited = [], "", 0


class Program:
    def __init__(self):
        self.memory, self.layout = Memory(), Layout()
        self.kinds, self.places, self.ends = {}, {}, {}

    # --- Shards: no list of them is kept, but every thread that runs one has it on its stack.

    def shards(self):
        found = {}
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            top = int(gdb.newest_frame().read_register("rsp"))
            for name in ("rbx", "rbp", "r12", "r13", "r14", "r15", "rdi"):
                self.look_at(int(gdb.newest_frame().read_register(name)) & (1 << 64) - 1, found)
            for page in range(top & ~7, top + STACK, 4096):
                try:
                    words = struct.unpack("<512Q", self.memory.bytes(page, 4096))
                except Unreadable:
                    break
                for word in words:
                    self.look_at(word, found)
        return sorted(found.values())

    def look_at(self, word, found):
        if word in found or word & 7 or not 4096 < word < 1 << 47 or len(found) > 4096:
            return
        try:
            for state in (self.layout.cancel, self.layout.stopping):
                at = word + state + self.layout.state_node
                if self.kind(self.memory.word(at + self.layout.kind)) != ("state", ""):
                    return
            found[word] = (struct.unpack("<I", self.memory.bytes(word + self.layout.index, 4))[0], word)
        except Unreadable:
            pass

    # --- The tree of what waits (runtime/core/task_walk.cpp).

    def kind(self, address):
        """What nodes of this kind are: ('state', ''), ('wait', (operation, distance to the handle)), ('', '')."""
        if address not in self.kinds:
            self.kinds[address] = self.kind_anew(address)
        return self.kinds[address]

    def kind_anew(self, address):
        if not symbol_at(address):
            return "", ""
        on_cancel, tell = symbol_at(self.memory.word(address)), self.memory.word(address + 8)
        if on_cancel.startswith(WEIR + "cancel_state::from_parent"):
            return "state", ""
        if tell == 0 or "(" not in on_cancel:
            return "", ""
        try:
            if "operation::ask<" in on_cancel:
                # Of "...::read_awaiter::request_cancel(...)": the class.
                words = on_cancel.split("operation::ask<", 1)[1].lstrip("&(").split("(")[0].split("::")
                return "wait", (words[-2].removesuffix("_awaiter"), self.layout.waiter_in(WEIR + "operation"))
            owner = name_in(on_cancel).rsplit("::", 1)[0]
            return "wait", (owner.split("::")[-1].removesuffix("_awaiter"), self.layout.waiter_in(owner))
        except Unreadable as problem:
            print(f"(not shown: {on_cancel}: {problem})")
            return "", ""

    def waits_under(self, state):
        """(operation, frame) of everything that waits under a state."""
        to_see = [state]
        while to_see:
            head = to_see.pop() + self.layout.list
            node = self.memory.word(head + self.layout.next)
            while node != head:
                what, more = self.kind(self.memory.word(node + self.layout.kind))
                if what == "state":
                    to_see.append(node - self.layout.state_node)
                elif what == "wait":
                    yield more[0], self.memory.word(node + more[1])
                node = self.memory.word(node + self.layout.next)

    def tasks(self):
        out = []
        for index, shard in self.shards():
            now = self.memory.word(shard + self.layout.now)
            seen = list(self.waits_under(shard + self.layout.cancel))
            node = self.memory.word(shard + self.layout.ready)
            while node != 0:
                seen.append(("a turn of its shard", self.memory.word(node + self.layout.handle)))
                node = self.memory.word(node + self.layout.ready_next)
            for operation, frame in seen:
                if frame != 0:
                    out.append(self.task(index, now, operation, frame))
        return sorted(out, key=lambda task: -task.waited)

    def task(self, shard, now, operation, frame):
        out = Task(shard, operation, frame, False)
        at, bit = self.layout.since
        since = self.memory.word(frame + self.layout.promise + at) >> bit & (1 << 56) - 1
        out.waited = 0 if operation.startswith("a turn") else max(0, now - since)
        while frame != 0 and len(out.chain) < DEEPEST:
            promise = frame + self.layout.promise
            out.chain.append((frame, self.place(self.memory.word(promise + self.layout.where))))
            done = self.memory.word(promise + self.layout.on_done)
            if done == 0:
                frame = self.memory.word(promise + self.layout.parent)
                continue
            out.belongs, frame = self.belonging(done)
        return out

    def place(self, at):
        """(file.cpp:12, function)."""
        if at not in self.places:
            if at == 0:
                self.places[at] = ("?", "?")
            else:
                file, function, line = struct.unpack("<QQI", self.memory.bytes(at, 20))
                short = self.memory.text(file).rsplit("/", 1)[-1]
                self.places[at] = (f"{short}:{line}", name_in(self.memory.text(function)))
        return self.places[at]

    def belonging(self, completion):
        """Whom a coroutine belongs to that none awaits, and the one that waits for it, or 0."""
        kind = self.memory.word(completion)
        if kind not in self.ends:
            self.ends[kind] = name_in(symbol_at(self.memory.word(kind)))
        run = self.ends[kind]
        owner = run.rsplit("::", 1)[0]
        try:
            if "join_child<" in run:
                child = type_of(owner)
                state = self.memory.word(completion - field_of(child, "completion")[0] + field_of(child, "state_")[0])
                return "", self.memory.word(state + field_of(type_of(WEIR + "join_state"), "handle")[0])
            if "remote_call<" in run:
                call = type_of(owner)
                return "", self.memory.word(completion - field_of(call, "completion")[0] + field_of(call, "handle")[0])
            if "scope_state" in run:
                return "scope of " + self.place(self.memory.word(self.scope_made(completion)))[0], 0
        except Unreadable:
            pass
        return "scope" if "scope_state" in run else "shard" if run.endswith("root::ended") else owner or "?", 0

    def scope_made(self, completion):
        state = type_of(WEIR + "scope_state")
        return completion - field_of(state, "completion")[0] + field_of(state, "made")[0]


def authors_place(task):
    """The first of the chain that is not weir's own."""
    for _, place in task.chain:
        if not place[1].startswith("weir::") and place[0] != "?":
            return place
    return task.chain[0][1] if task.chain else ("?", "?")


def locals_of(memory, frame):
    """(name, value) of what a coroutine keeps: g++ tells by its frame_ptr, clang by __coro_frame."""
    resume = memory.word(frame)
    block = gdb.block_for_pc(resume)
    while block is not None and block.function is None:
        block = block.superblock
    for symbol in block or ():
        if symbol.name not in ("frame_ptr", "__coro_frame"):
            continue
        kind = symbol.type.strip_typedefs()
        whole = gdb.Value(frame).cast(kind if kind.code == gdb.TYPE_CODE_PTR else kind.pointer()).dereference()
        for field in whole.type.fields():
            name = field.name or ""
            hidden = name.startswith(("_Coro_", "__", "Aw", "_Aw", "Is", "_Is", "Fs", "D.", "Frame"))
            if name and not hidden:
                # g++ adds two numbers: n_1_2.
                words = name.split("_")
                while len(words) > 1 and words[-1].isdigit():
                    words.pop()
                yield "_".join(words), whole[field]


class Ps(gdb.Command):
    """What every coroutine waits for: weir-ps [--group] [--chain] [--stuck SECONDS] [--most N].

Numbers are those that weir-locals takes."""

    def __init__(self):
        super().__init__("weir-ps", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        try:
            stuck = float(words[words.index("--stuck") + 1].rstrip("s")) * 1e9 if "--stuck" in words else 0
            most = int(words[words.index("--most") + 1]) if "--most" in words else 1000
        except (IndexError, ValueError):
            raise gdb.GdbError("weir-ps: --stuck takes seconds, --most a number") from None
        known = {"--group", "--chain", "--stuck", "--most"}
        for i, word in enumerate(words):
            if word not in known and (i == 0 or words[i - 1] not in ("--stuck", "--most")):
                raise gdb.GdbError(f"weir-ps: what is {word}? (--group, --chain, --stuck SECONDS, --most N)")
        self.show([t for t in tasks_now() if t.waited >= stuck], words, most)

    @staticmethod
    def show(tasks, words, most):
        if "--group" in words:
            groups = {}
            for task in tasks:
                groups.setdefault((authors_place(task), task.operation, task.belongs), []).append(task)
            print("   COUNT     LONGEST  PLACE                     WAITS FOR  (FUNCTION)")
            for (place, operation, belongs), those in sorted(groups.items(), key=lambda one: -len(one[1])):
                print(f"{len(those):8}  {for_people(those[0].waited):>10}  {place[0]:24}  {operation}  ({place[1]})  {belongs}")
            return
        print("      #      WAITED  PLACE                     WAITS FOR  (FUNCTION)")
        for number, task in enumerate(tasks[:most]):
            place = authors_place(task)
            print(f"{number:7}  {for_people(task.waited):>10}  {place[0]:24}  {task.operation}  ({place[1]})")
            if "--chain" in words:
                for i, (frame, at) in enumerate(task.chain):
                    print(f"             {'in' if i == 0 else 'awaited by'} {at[1]} {at[0]}, frame {frame:#x}")
                print(f"             {task.belongs or 'another'}, shard {task.shard}")
        if len(tasks) > most:
            print(f"and {len(tasks) - most} more (--most N)")


class Locals(gdb.Command):
    """What a waiting coroutine keeps, and those that await it: weir-locals NUMBER, of weir-ps."""

    def __init__(self):
        super().__init__("weir-locals", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        tasks = tasks_now()
        # Where the thread stands may be C, which values cannot be shown in.
        gdb.execute("set language c++", to_string=True)
        try:
            self.show(tasks, argument)
        finally:
            gdb.execute("set language auto", to_string=True)

    @staticmethod
    def show(tasks, argument):
        try:
            task = tasks[int(argument or "0")]
        except (ValueError, IndexError):
            raise gdb.GdbError(f"weir-locals: a number below {len(tasks)}, as weir-ps shows them") from None
        memory = Memory()
        for frame, place in task.chain:
            print(f"{place[1]}  {place[0]}, frame {frame:#x}")
            told = 0
            try:
                for name, value in locals_of(memory, frame):
                    print(f"    {name} = {value.format_string(max_depth=3, max_elements=16)}")
                    told += 1
            except (gdb.error, RuntimeError) as problem:
                print(f"    (cannot be read: {problem})")
            if told == 0:
                print("    (no locals, or gdb is not told of them: clang tells only of what it did not optimize)")


def tasks_now():
    chosen = gdb.selected_thread()
    if chosen is None:
        raise gdb.GdbError("no program is there: give gdb a core, or a process with -p")
    # Another frame's or thread's being selected must not show afterwards.
    frame = gdb.selected_frame()
    try:
        return Program().tasks()
    except Unreadable as problem:
        raise gdb.GdbError(f"weir: {problem}") from None
    finally:
        chosen.switch()
        frame.select()


Ps()
Locals()
