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


def independent(one, other):
    """Two assignments of which neither names what the other sets: their order is nobody's concern."""
    sides = [re.match(r"^\s*([\w.\[\]]+)(?:->[\w]+)* [+\-|&^]?= (.*)", code) for code in (one, other)]
    if not all(sides):
        return False
    (a, of_a), (b, of_b) = (side.groups() for side in sides)
    return a != b and a not in of_b and b not in of_a


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
