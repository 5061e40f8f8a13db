"""Nextflow's strict syntax for configurations and scripts, as far as generated files and common mistakes need. Pure.

Source: Nextflow's "Strict syntax" and "Configuration options" pages (26.04), and nf-azure 1.23's option classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BATCH = [
    "accountName",
    "location",
    "endpoint",
    "autoPoolMode",
    "allowPoolCreation",
    "copyToolInstallMode",
    "deleteTasksOnCompletion",
    "terminateJobsOnCompletion",
    "deleteJobsOnCompletion",
    "deletePoolsOnCompletion",
    "jobMaxWallClockTime",
    "maxJobQuotaRetries",
    "jobQuotaRetryDelay",
]
_POOL = ["vmType", "virtualNetwork", "startTask", "lowPriority", "privileged", "runAs"]
# Options under azure that a file without keys may have; `*` is a pool's name.
AZURE_OPTIONS = frozenset(
    [
        *(f"azure.batch.{name}" for name in _BATCH),
        *(f"azure.batch.pools.*.{name}" for name in _POOL),
        "azure.storage.accountName",
        "azure.storage.tokenDuration",
        "azure.managedIdentity.clientId",
        "azure.managedIdentity.system",
        "azure.azcopy.blockSize",
        "azure.azcopy.blobTier",
        *(f"azure.retryPolicy.{name}" for name in ("delay", "maxDelay", "jitter", "maxAttempts")),
    ]
)
_SECRETS = frozenset({"accountKey", "sasToken", "clientSecret", "servicePrincipalSecret", "password"})
_FORBIDDEN = re.compile(r"^\s*(def|if|for|while|switch|try|import|class|return)\b")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|//[^\n]*|/\*.*?\*/)|(?P<line>[\n;])"""
    r"""|(?P<string>'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")"""
    r"""|(?P<open>[{(\[])|(?P<close>[})\]])|(?P<equals>=(?!=))|(?P<name>[A-Za-z_][\w.]*)|(?P<other>.)""",
    re.S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong at a line (from 1)."""

    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> list[_Token]:
    found, line = [], 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(_Token(kind, match.group(), line))
        line += match.group().count("\n")
    return found


def options(text: str) -> tuple[list[tuple[str, int]], list[Fault]]:
    """The options that a configuration assigns, as dotted paths with their lines, and faults of its syntax."""
    tokens, faults, found = _tokens(text), list[Fault](), list[tuple[str, int]]()
    path: list[str] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "line":
            at += 1
        elif token.kind == "close" and token.text == "}":
            if path:
                path.pop()
            else:
                faults.append(Fault(line=token.line, sentence="a } closes nothing"))
            at += 1
        elif token.kind in {"name", "string"}:
            at = _statement(tokens, at, path, found, faults)
        else:
            faults.append(Fault(line=token.line, sentence=f"'{token.text}' begins no setting"))
            at = _skip(tokens, at)
    if path:
        faults.append(
            Fault(line=tokens[-1].line if tokens else 1, sentence=f"the block {'.'.join(path)} is not closed")
        )
    return found, faults


def _statement(
    tokens: list[_Token], at: int, path: list[str], found: list[tuple[str, int]], faults: list[Fault]
) -> int:
    """One setting, block or include from `at`: where the next begins."""
    token = tokens[at]
    following = tokens[at + 1] if at + 1 < len(tokens) else _Token("line", "\n", token.line)
    name = token.text.strip("'\"") if token.kind == "string" else token.text
    if token.kind == "name" and _FORBIDDEN.match(token.text):
        faults.append(
            Fault(line=token.line, sentence=f"'{token.text}' is a statement: only settings, blocks, includeConfig")
        )
        return _skip(tokens, at)
    if following.kind == "open" and following.text == "{":
        path.append(name)
        return at + 2
    if following.kind == "equals":
        found.append((".".join([*path, name]), token.line))
        value = tokens[at + 2] if at + 2 < len(tokens) else following
        if value.kind == "string" and value.text.startswith('"') and re.search(r"(?<!\\)\$", value.text):
            faults.append(Fault(line=value.line, sentence="$ in a setting: use env('NAME') or params"))
        return _skip(tokens, at + 2)
    if name in {"includeConfig", "id"} and following.kind in {"string", "name"}:
        return _skip(tokens, at + 1)
    if following.kind == "other" and following.text == ":":  # withName: X { and withLabel: Y {
        at += 2
        while at < len(tokens) and tokens[at].text != "{":
            at += 1
        path.append(name)
        return at + 1
    faults.append(Fault(line=token.line, sentence=f"'{name}' is neither a setting nor a block"))
    return _skip(tokens, at)


def _skip(tokens: list[_Token], at: int) -> int:
    """Past the value at `at`: to the end of the line on which no bracket is open."""
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "open":
            depth += 1
        elif token.kind == "close":
            if depth == 0:
                return at
            depth -= 1
        elif token.kind == "line" and depth == 0:
            return at + 1
        at += 1
    return at


def check_config(text: str) -> list[Fault]:
    """Faults of a nextflow.config: syntax, unknown azure options, keys in clear."""
    found, faults = options(text)
    for path, line in found:
        parts = path.split(".")
        if parts[-1] in _SECRETS:
            faults.append(Fault(line=line, sentence=f"{path} is a secret in clear: use managedIdentity"))
        elif parts[0] == "azure":
            general = re.sub(r"^(azure\.batch\.pools)\..+\.(\w+)$", r"\1.*.\2", path)
            if general not in AZURE_OPTIONS:
                faults.append(Fault(line=line, sentence=f"{path} is no option of nf-azure that works here"))
    return sorted(faults, key=lambda fault: fault.line)


# (what must not be there, why)
_SCRIPT_RULES = (
    (re.compile(r"\bChannel\s*\."), "write channel, not Channel"),
    (re.compile(r"^\s*val\s+\w+\s+from\b|\binto\s+\w+\s*$"), "from and into are DSL1: call processes in workflow"),
    (re.compile(r"^\s*import\b"), "import is not allowed: write the full class name"),
    (re.compile(r"\{\s*it\b|\bit\."), "name the closure's parameter"),
    (re.compile(r"^\s*env\s+[A-Za-z]"), "quote the name after env"),
    (re.compile(r"nextflow\.enable\.dsl\s*=\s*1"), "DSL1 is gone"),
)
_DECLARATION = re.compile(r"^(process\s+\w+|workflow(\s+\w+)?|def\s+\w+\s*\(.*\)|output|params|include|enum|record)\b")


def check_script(text: str) -> list[Fault]:
    """Faults of a Nextflow script: what is not strict DSL2, statements between declarations, missing script: labels."""
    faults: list[Fault] = []
    bare = re.sub(r'""".*?"""|\'\'\'.*?\'\'\'', lambda m: '""' + "\n" * m.group().count("\n"), text, flags=re.S)
    depth, section, process = 0, False, False
    for number, raw in enumerate(bare.split("\n"), start=1):
        line = re.sub(r"//.*$", "", raw) if not raw.startswith("#!") else ""
        faults += [Fault(line=number, sentence=why) for rule, why in _SCRIPT_RULES if rule.search(line)]
        stripped = line.strip()
        if depth == 0 and stripped:
            if not _DECLARATION.match(stripped):
                faults.append(Fault(line=number, sentence="a statement outside of process, workflow and functions"))
            process, section = stripped.startswith("process"), False
        if process and re.match(r"^(input|output|script|shell|exec|stub|when):", stripped):
            section = stripped.split(":")[0] in {"script", "shell", "exec"} or section
        if process and depth == 1 and stripped.startswith('""') and not section:
            faults.append(Fault(line=number, sentence="a process with sections needs script:"))
        plain = re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "", line)
        depth += plain.count("{") - plain.count("}")
    if depth:
        faults.append(Fault(line=bare.count("\n") + 1, sentence="a block is not closed"))
    return faults
