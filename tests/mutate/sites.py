"""Where a small mistake can be put into a C++ source, and what each looks like.

A site is one edit of one line (two for an exchange of statements). It knows no grammar: the
sources are formatted, so that a binary operator has spaces around it and a template's bracket has
none. What does not compile is no mutant; the caller draws another.
"""
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    file: str
    line: int  # from 1
    kind: str
    before: tuple  # of lines
    after: tuple

    def key(self):
        """What an edit is, wherever it stands in its file."""
        pairs = zip(self.before, self.after)
        return f"{self.file}: " + "; ".join(f"{a.strip()} -> {b.strip()}" for a, b in pairs)

    def text(self):
        pairs = zip(self.before, self.after)
        shown = "; ".join(f"`{a.strip()}` -> `{b.strip()}`" for a, b in pairs)
        return f"{self.file}:{self.line}: {self.kind}: {shown}"


# One pattern, its replacement, and the kind of mistake.
EDITS = [(kind, re.compile(pattern), replacement) for kind, pattern, replacement in [
    ("boundary", r" < ", " <= "),
    ("boundary", r" <= ", " < "),
    ("boundary", r" > ", " >= "),
    ("boundary", r" >= ", " > "),
    ("boundary", r" \+ 1\b(?!')", ""),
    ("boundary", r" - 1\b(?!')", ""),
    ("boundary", r"(?<=[ (,])0(?=[,;)])", "1"),
    ("boundary", r"(?<=[ (,])1(?=[,;)])", "2"),
    ("boundary", r"\bstd::min\b", "std::max"),
    ("boundary", r"\bstd::max\b", "std::min"),
    ("condition", r" == ", " != "),
    ("condition", r" != ", " == "),
    ("condition", r" && ", " || "),
    ("condition", r" \|\| ", " && "),
    ("condition", r"(?<=[ (])!(?=[a-z_(*])", ""),
    ("condition", r"\bif \((?!constexpr)(?=[^;]*$)", "if (!"),
    ("condition", r"\btrue\b", "false"),
    ("condition", r"\bfalse\b", "true"),
    ("arithmetic", r" \+ (?!1\b)", " - "),
    ("arithmetic", r" - (?!1\b)", " + "),
    ("arithmetic", r" \+= ", " -= "),
    ("arithmetic", r" -= ", " += "),
    ("arithmetic", r"(?<=[ (])\+\+(?=[a-z_])", "--"),
]]

# A difference that is 0 where there is none: at the edge both ways give 0.
DIFFERENCE = re.compile(r"([\w.]+(?:\(\))?)( [<>] )([\w.]+(?:\(\))?) \? (?:\1 - \3|\3 - \1) : 0\b")

# A whole statement on a line of its own: a call or an assignment, not a declaration.
STATEMENT = re.compile(
    r"^\s+(?!return\b|co_return\b|co_yield\b|break\b|continue\b|using\b|static_assert\b|assert\b|"
    r"throw\b|goto\b|delete\b|case\b|default\b|friend\b|public\b|private\b|else\b|if\b|for\b|while\b)"
    r"(?:\+\+|--|\*)?(?:co_await )?[a-z_][\w.\[\]]*(?:(?:->|::|\.)[\w\[\]]+)*"
    r"(?:\(.*\)| (?:[+\-|&^]?=) .*|\+\+|--);$")
SKIPPED = re.compile(r"^\s*(#|//|using |namespace |static_assert|template|friend |enum |struct |class "
                     r"|case |default:|typedef )|\bassert\(|\boperator\b|^\s*\[\[|constexpr .*=|\bWEIR_")


def code_of(line):
    """The line without its comment and with its literals blanked, of the same length."""
    line = re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'', lambda m: '"' * len(m.group()), line)
    at = line.find("//")
    return line if at < 0 else line[:at].rstrip()


def balanced(text):
    return text.count("(") == text.count(")") and text.count("{") == text.count("}")


def is_statement(code):
    return bool(STATEMENT.match(code)) and balanced(code)


# Statements that set something by name and do nothing else that is seen.
ASSIGNMENT = re.compile(r"^([\w.\[\]]+)(?:->\w+)* [+\-|&^]?= (.*);$")
STEP = re.compile(r"^(?:\+\+|--)([\w.\[\]]+)();$")
COUNT = re.compile(r"^([\w.]*\bcounters_?)\.add\((.*)\);$")
WIRE_WRITE = re.compile(r"^(?:wire::)?put(8|16|32|64)\(([\w.]+(?:\(\))?)(?: \+ (\w+))?, (.*)\);$")
COUNT_ONE = re.compile(r"^[\w.]*\bcounters_?\.add\(\w+::\w+\);$")
NAME = re.compile(r"[A-Za-z_]\w*(?:\[[\w.]+\])?(?:\.\w+)*")


def set_by(code):
    """(the names that it sets, bytes or None for all, names read), or None when it may do more."""
    if match := WIRE_WRITE.match(code):
        bits, target, at, value = match.groups()
        known = at is None or at.isdigit()
        bytes_set = range(int(at or 0), int(at or 0) + int(bits) // 8) if known else range(1 << 16)
        return [target], bytes_set, NAME.findall(value)
    match = ASSIGNMENT.match(code) or STEP.match(code) or COUNT.match(code)
    if not match:
        return None
    *more, value = match[2].split(" = ")
    read = NAME.findall(re.sub(r"&[a-z_]\w*", "", value))  # an address is not what stands there
    targets = [match[1], *more]
    return targets, None, read + [i for target in targets for i in re.findall(r"\[(.*?)\]", target)]


def overlap(one, other):
    """The one may be the other, or a part of it."""
    def same(a, b):
        return a == b or a[0] == b[0] == "[" and not (a[1:].isdigit() and b[1:].isdigit())
    parts = [name.replace("[", ".[").replace("]", "").split(".") for name in (one, other)]
    return all(same(a, b) for a, b in zip(*parts))


def independent(one, other):
    """Neither names what the other sets: their order is nobody's concern."""
    one, other = one.strip(), other.strip()
    if COUNT_ONE.match(one) or COUNT_ONE.match(other):  # nothing below the user reads a counter
        return "co_await" not in one + other
    if not (set_by(one) and set_by(other)):
        return False
    (set_a, bytes_a, read_a), (set_b, bytes_b, read_b) = set_by(one), set_by(other)
    if any(overlap(a, b) for a in set_a for b in read_b) or \
       any(overlap(a, b) for a in read_a for b in set_b):
        return False
    if bytes_a and bytes_b:  # of two buffers, the one may be a part of the other
        return set_a == set_b and not set(bytes_a) & set(bytes_b)
    return not any(overlap(a, b) for a in set_a for b in set_b)


def negated(line, code, match):
    """`if (x)` with its whole condition turned round, where it ends on this line; else None."""
    depth, start = 0, match.end() - 1  # the match ends with "if ("
    for i in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth == 0:
            inside = line[start + 1:i]
            if ";" in inside or "co_await" in inside or re.search(r"\w \w+ =", inside):
                return None
            return f"{line[:start]}(!({inside})){line[i + 1:]}"
    return None


def of_line(file, number, lines):
    line = lines[number - 1]
    code = code_of(line)
    if not code.strip() or SKIPPED.search(code):
        return
    for kind, pattern, replacement in EDITS:
        if kind == "arithmetic" and ('"' in code or code.lstrip().startswith("for (")):
            continue  # sums of strings do not compile; loops that never end tell nothing
        for match in pattern.finditer(code):
            if any(d.span(2) == match.span() for d in DIFFERENCE.finditer(code)):
                continue
            if replacement == "if (!":
                changed = negated(line, code, re.compile(r"\bif \(").match(code, match.start()))
            else:
                changed = line[:match.start()] + replacement + line[match.end():]
            if changed is not None and changed != line:
                yield Site(file, number, kind, (line,), (changed,))
    if is_statement(code):
        indent = line[:len(line) - len(line.lstrip())]
        yield Site(file, number, "statement", (line,), (indent + ";",))
        if number < len(lines):
            following = lines[number]
            exchanged = is_statement(code_of(following)) and following != line
            if exchanged and not independent(code, code_of(following)):
                if len(following) - len(following.lstrip()) == len(indent):
                    yield Site(file, number, "order", (line, following), (following, line))


def of_file(file, text):
    lines = text.split("\n")
    inside_comment = False
    for number in range(1, len(lines) + 1):
        line = lines[number - 1]
        if "/*" in line:
            inside_comment = "*/" not in line
            continue
        if inside_comment:
            inside_comment = "*/" not in line
            continue
        yield from of_line(file, number, lines)


def apply(site, text):
    lines = text.split("\n")
    at = site.line - 1
    assert tuple(lines[at:at + len(site.before)]) == site.before
    lines[at:at + len(site.after)] = site.after
    return "\n".join(lines)
