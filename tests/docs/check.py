"""Compares the documentation with the repository and with the running program, so that it cannot go stale.

    tests/docs/check.py PATIENTS      PATIENTS is the path of the binary; `scripts/docs` builds it and calls this

It checks, in every Markdown file of the repository:

- that each link leads to a file of the repository, and each anchor to a heading;
- that each path between backticks exists, if it begins with a folder of the repository;
- that every page is at most two links away from README.md;
- that each `patients …` command uses an existing subcommand and existing options;
- that each block after a comment with the path of a file, such as <!-- clients/curl/patients.sh -->, is a part of that file;
- that each ```console block shows the real output. A line that begins with `$ ` is run, and the lines after it are compared
  with its output. Values that differ from run to run (ids, times, hashes, tokens) are masked, and in later commands a value of the
  document is replaced by the real value. A line `…` matches any number of lines. The blocks of a page share one folder, one server
  on SQLite, and one shell.

In every Rust file it checks that comments fit the width of the code. Needs Python 3.9 and curl.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 110
CLICKS = 2
PATIENCE = 20.0

problems: list[str] = []


def problem(path: Path, line: int, text: str) -> None:
    problems.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def tracked(pattern: str) -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file() and "assets/vendor" not in name]


# Links, anchors and paths


def slug(heading: str) -> str:
    """Returns the anchor that GitHub and similar sites generate for a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]", "", text).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def prose(text: str) -> list[tuple[int, str]]:
    """Returns the numbered lines outside of fenced blocks."""
    lines, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append((number, line))
    return lines


def anchors(path: Path) -> set[str]:
    found: dict[str, int] = {}
    names = set()
    for _, line in prose(path.read_text()):
        if match := re.match(r"#{1,6} (.*)", line):
            name = slug(match[1])
            count = found.get(name, 0)
            found[name] = count + 1
            names.add(name if count == 0 else f"{name}-{count}")
    return names


LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")


def check_links(pages: list[Path]) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".git")}
    near: dict[Path, set[Path]] = {page: set() for page in pages}
    headings = {page: anchors(page) for page in pages}
    for page in pages:
        for number, line in prose(page.read_text()):
            for target in LINK.findall(CODE.sub("", line)) + LINK.findall(line):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                there = (page.parent / name).resolve() if name else page
                if there.is_dir() and (there / "README.md").is_file():
                    there = there / "README.md"
                if not there.exists():
                    problem(page, number, f"there is no {target}")
                    continue
                if there in near:
                    near[page].add(there)
                if there.is_dir():
                    near[page] |= {other for other in pages if other.parent == there}
                if anchor and (there not in headings or anchor not in headings[there]):
                    problem(page, number, f"{target}: there is no such heading")
            for code in CODE.findall(line):
                check_path(page, number, code, folders)
    seen = {ROOT / "README.md"}
    for _ in range(CLICKS):
        seen |= {there for page in seen for there in near.get(page, ())}
    for page in pages:
        if page.is_relative_to(ROOT / "docs") and page not in seen:
            problem(page, 1, f"more than {CLICKS} links away from README.md")


def check_path(page: Path, number: int, code: str, folders: set[str]) -> None:
    if not re.fullmatch(r"[\w./{},*-]+", code) or code.split("/")[0] not in folders or "/" not in code:
        return
    if code.startswith(("data/", "target/", "loadtest/.venv")):
        return
    for choice in braces(code):
        if not list(ROOT.glob(choice.rstrip("/"))):
            problem(page, number, f"there is no {choice}")


def braces(text: str) -> list[str]:
    match = re.search(r"\{([^{}]*)\}", text)
    if not match:
        return [text]
    return [one for part in match[1].split(",") for one in braces(text[: match.start()] + part + text[match.end() :])]


# Commands


class Program:
    """The subcommands and options in the help texts of the program."""

    def __init__(self, binary: str) -> None:
        self.binary = binary
        self.texts: dict[tuple[str, ...], str] = {}

    def help(self, words: tuple[str, ...]) -> str:
        if words not in self.texts:
            done = subprocess.run([self.binary, *words, "--help"], capture_output=True, text=True, timeout=30)
            self.texts[words] = done.stdout if done.returncode == 0 else ""
        return self.texts[words]

    def subcommands(self, words: tuple[str, ...]) -> set[str]:
        section = re.search(r"^Commands:\n((?:[ ].*\n?|\n)*)", self.help(words), re.M)
        return set(re.findall(r"^  ([a-z][a-z-]*)", section[1], re.M)) if section else set()

    def options(self, words: tuple[str, ...]) -> set[str]:
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", self.help(words)))
        if "settings" in self.subcommands(()):
            done = subprocess.run([self.binary, "settings"], capture_output=True, text=True, timeout=30)
            flags |= set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", done.stdout))
        return flags | {"--help", "--version"}


def commands(text: str) -> list[tuple[int, str]]:
    """Returns the numbered `patients …` commands of a page."""
    found, fence = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = None if fence is not None else line.strip()[3:]
        elif fence is not None:
            if match := re.match(r"(?:\$ )?(?:\w+=\S+ )*patients ([a-z].*)", line.strip()):
                found.append((number, match[1]))
        else:
            found += [(number, code[9:]) for code in CODE.findall(line) if code.startswith("patients ")]
    return found


def check_commands(pages: list[Path], program: Program) -> None:
    for page in pages:
        for number, command in commands(page.read_text()):
            command = re.split(r" [|&>#]|;", command)[0]
            for choice in alternatives(command):
                check_command(page, number, choice, program)


def alternatives(command: str) -> list[str]:
    """Splits alternatives: `audit head | verify` and `audit head|verify` each mean two commands."""
    words = command.split()
    for place, word in enumerate(words):
        if "|" in word and not word.startswith(("-", "<", "[")):
            return [one for part in word.split("|") for one in alternatives(" ".join(words[:place] + [part] + words[place + 1 :]))]
    return [command]


def check_command(page: Path, number: int, command: str, program: Program) -> None:
    path: tuple[str, ...] = ()
    for word in command.split():
        if not program.subcommands(path):
            break
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        if word not in program.subcommands(path):
            problem(page, number, f"`patients {command}`: there is no subcommand {word}")
            return
        path += (word,)
    if "…" in command:
        return
    for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", command):
        if option not in program.options(path):
            problem(page, number, f"`patients {command}`: there is no option {option}")


# Shown output

VOLATILE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|pat_[A-Za-z0-9_-]+"
    r"|[0-9a-f]{64}|[0-9a-f]{4}…"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? \w{3} \d{4} \d\d:\d\d:\d\d (?:GMT|[+-]\d{4})"
    r"|\d+(?:\.\d+)?(?: ?(?:ms|s|µs)|/s)\b"
)


class Page:
    """A folder, a server and a shell for the blocks of one page."""

    def __init__(self, path: Path, binary: str) -> None:
        self.path, self.binary = path, binary
        self.folder = tempfile.mkdtemp(prefix="patients-docs-")
        self.port = free_port()
        self.values: dict[str, str] = {}
        # The program is on the PATH, and at the path that `cargo run` uses.
        for place in ("bin", "target/debug"):
            (Path(self.folder) / place).mkdir(parents=True)
            os.symlink(binary, Path(self.folder) / place / "patients")
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        self.environment = kept | {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "HTTP_ADDR": f"127.0.0.1:{self.port}",
            "NO_COLOR": "1",
        }
        self.log = Path(self.folder) / "server.log"
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                [binary, "serve"], cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )
        self.await_ready()

    def await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"the server for {self.path.name} is not ready:\n{self.log.read_text()}")

    def close(self) -> None:
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(timeout=PATIENCE)
        shutil.rmtree(self.folder)

    def run(self, command: str) -> str:
        """Returns the output of a command of the page, in the form in which the page would show it."""
        for shown, value in self.values.items():
            command = command.replace(shown, value)
        command = command.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        if command == "cargo run":
            output = self.log.read_text()
        else:
            # Variables keep their values from one command to the next.
            state = f"{self.folder}/state"
            script = f"[ ! -e {state} ] || . {state}\n{command}\ncode=$?\nset | grep -E '^[a-z_]+=' >{state}\nexit $code"
            done = subprocess.run(
                ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
            )
            output = done.stdout + done.stderr
        return output.replace("\r", "").replace(f"127.0.0.1:{self.port}", "127.0.0.1:8000")

    def check(self, number: int, command: str, expected: list[str]) -> None:
        # A command that only reads may run too early, because mail and the list are updated after a registration.
        repeatable = not re.search(r" -d| -X|--data|--request|token new", command)
        deadline = time.monotonic() + PATIENCE
        while True:
            actual = self.run(command).rstrip("\n").split("\n")
            values = matched(expected, actual)
            if values is not None:
                self.values |= values
                return
            if not repeatable or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        shown = "\n".join(f"      {line}" for line in actual[:40])
        problem(self.path, number, f"`{command}` shows something else:\n{shown}")


def matched(expected: list[str], actual: list[str]) -> "dict[str, str] | None":
    """Returns the values of the document with the real values that replace them, or None if the output differs."""
    if not expected:
        return {} if actual in ([], [""]) else None
    values: dict[str, str] = {}
    if expected[0] == "…":
        for skipped in range(len(actual) + 1):
            rest = matched(expected[1:], actual[skipped:]) if expected[1:] else {}
            if rest is not None:
                return rest
        return None
    if not actual or VOLATILE.sub("?", expected[0]).rstrip() != VOLATILE.sub("?", actual[0]).rstrip():
        return None
    values |= dict(zip(VOLATILE.findall(expected[0]), VOLATILE.findall(actual[0])))
    rest = matched(expected[1:], actual[1:]) if expected[1:] or actual[1:] else {}
    return None if rest is None else values | rest


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def sessions(text: str) -> list[tuple[int, str, list[str]]]:
    """Returns the numbered commands of the console blocks of a page, each with its documented output."""
    found: list[tuple[int, str, list[str]]] = []
    lines = text.splitlines()
    inside = False
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            inside = line == "```console" and not inside
        elif inside and line.startswith("$ "):
            found.append((number, line[2:], []))
        elif inside and found:
            last_number, command, output = found[-1]
            if unfinished(command):
                found[-1] = (last_number, f"{command}\n{line}", output)
            else:
                output.append(line)
    return found


def unfinished(command: str) -> bool:
    """Whether a shell would ask for more lines."""
    return subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode != 0 or command.endswith("\\")


def check_sessions(pages: list[Path], binary: str) -> int:
    count = 0
    for path in pages:
        commands_of_page = sessions(path.read_text())
        if not commands_of_page:
            continue
        page = Page(path, binary)
        try:
            for number, command, expected in commands_of_page:
                page.check(number, command.split("  #")[0].rstrip(), expected)
                count += 1
        finally:
            page.close()
    return count


# Excerpts


EXCERPT = re.compile(r"^<!-- (\S+) -->\n```\w*\n(.*?)^```$", re.M | re.S)


def check_excerpts(pages: list[Path]) -> None:
    for page in pages:
        text = page.read_text()
        for excerpt in EXCERPT.finditer(text):
            file = ROOT / excerpt[1]
            if not file.is_file() or excerpt[2] not in file.read_text():
                problem(page, text.count("\n", 0, excerpt.start()) + 1, f"the block is not a part of {excerpt[1]}")


# Comments


def check_comments() -> None:
    for path in tracked("*.rs"):
        fenced = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.strip()
            if not text.startswith("//"):
                fenced = False
                continue
            if re.match(r"//[/!]? *```", text):
                fenced = not fenced
            # Tables, links and examples cannot be wrapped.
            if len(line) > WIDTH and not fenced and not re.match(r"//[/!]? *\|", text) and "://" not in text:
                problem(path, number, f"a comment of {len(line)} characters; the width is {WIDTH}")


def main() -> int:
    binary = str(Path(sys.argv[1]).resolve())
    pages = tracked("*.md")
    check_links(pages)
    check_commands(pages, Program(binary))
    check_excerpts(pages)
    count = check_sessions(pages, binary)
    check_comments()
    for text in problems:
        print(text)
    print(f"{len(pages)} pages, {count} commands run, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
