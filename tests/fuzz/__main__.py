"""The reading commands called with thousands of files that are wrong: `nox -s fuzz`, or with `-- --seed N --seconds N`.

Each call is drawn from the seed and its own number, so one finding can be made again without those before it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from fuzz.calls import answer, limit_memory, wrong_with
from fuzz.documents import reports, suites
from fuzz.mangle import mangled_json, mangled_toml

from bench.show.exports.formats import FORMATS

_MEMORY = 4_000_000_000


class Mangler:
    """Draws calls. `folder` holds the sound reports, and each mangled file in its turn."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        self.reports, self.suites = reports(folder), suites()
        for number, document in enumerate(self.reports.values()):
            (folder / f"sound{number}.json").write_text(json.dumps(document), encoding="utf-8")

    def draw(self, number: int) -> tuple[list[str], Path]:
        """The arguments of call `number`, and the mangled file, which is written."""
        draw = Random(f"{self.seed} {number}")
        if draw.random() < 0.5:
            path = self.folder / "mangled.toml"
            path.write_bytes(mangled_toml(draw, *draw.choice(list(self.suites.values()))))
            return draw.choice(_ABOUT_SUITES)(str(path)), path
        which = draw.randrange(len(self.reports))
        path = self.folder / "mangled.json"
        path.write_bytes(mangled_json(draw, list(self.reports.values())[which]))
        return self._about_report(draw, str(path), str(self.folder / f"sound{which}.json")), path

    def _about_report(self, draw: Random, bad: str, good: str) -> list[str]:
        pair = draw.choice(([bad, good], [good, bad], [bad, bad]))
        metric = draw.choice(("latency.p50_ms", "latency.p99_ms", "throughput.items_per_s", "speedup.over_eager"))
        form = ["--format", draw.choice(("table", "markdown", "github"))]
        target = str(self.folder / "taken.json")
        calls = [
            ["show", bad],
            ["show", "-v", bad],
            ["show", "--json", bad],
            ["export", draw.choice(list(FORMATS)), bad],
            ["export", draw.choice(list(FORMATS)), bad],
            ["accept", bad, "--as", target, "--force", *draw.choice(([], ["--json"]))],
            ["accept", good, "--as", bad],
            ["compare", *pair, "--metric", metric, *draw.choice((form, ["--json"], ["--format", "csv"]))],
            ["compare", *pair, "--across", "machines", *draw.choice((form, ["--json"], []))],
            ["compare", *pair, "--export", f"{draw.choice(list(FORMATS))}={target}.export"],
            ["gate", pair[0], "--baseline", pair[1], "--limit", f"{metric}:5%", *draw.choice((form, ["--json"]))],
            ["gate", pair[0], "--baseline", pair[1], "--export", f"{draw.choice(list(FORMATS))}={target}.export"],
        ]
        return draw.choice(calls)


_ABOUT_SUITES = (
    lambda path: ["validate", path],
    lambda path: ["validate", "--json", path],
    lambda path: ["run", "--dry-run", "-s", path],
    lambda path: ["run", "--dry-run", "--json", "-s", path],
    lambda path: ["run", "--dry-run", "-s", path, "-k", "eager"],
)


def fuzz(
    seed: int, numbers: Sequence[int] | range, seconds: float, keep: Path | None = None
) -> tuple[int, dict[str, str]]:
    """Make calls until they or the time are up: how many were made, and each kind of finding with how to make it again.

    keep: a folder that takes the mangled file of each finding.
    """
    found: dict[str, str] = {}
    times: Counter[str] = Counter()
    began, made = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name:
        mangler = Mangler(seed, Path(name))
        for number in numbers:
            if time.monotonic() - began > seconds:
                break
            arguments, path = mangler.draw(number)
            wrong = wrong_with(arguments, answer(arguments))
            made += 1
            if not wrong:
                continue
            times[wrong] += 1
            if wrong not in found:
                data = path.read_bytes()
                words = " ".join(each.replace(f"{name}/", "") for each in arguments)
                found[wrong] = f"call {number}: bench {words}\n{_short(data)}"
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{seed}-{number}{path.suffix}").write_bytes(data)
    return made, {f"{wrong} ({times[wrong]} times)": how for wrong, how in found.items()}


def _short(data: bytes) -> str:
    text = data.decode("utf-8", "backslashreplace")
    return text if len(text) < 3000 else f"{text[:1500]}\n…\n{text[-1000:]}"


def main() -> int:
    """Fuzz from the command line; the exit code is 1 where anything was found."""
    asked = argparse.ArgumentParser(prog="nox -s fuzz --")
    asked.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    asked.add_argument("--seconds", type=float, default=60)
    asked.add_argument("--call", type=int, help="make this one call again")
    asked.add_argument("--keep", type=Path, help="a folder for the files of findings")
    given = asked.parse_args()
    limit_memory(_MEMORY)
    os.environ["COLUMNS"] = "100"
    numbers = range(10**9) if given.call is None else [given.call]
    made, found = fuzz(given.seed, numbers, given.seconds, given.keep)
    for wrong, how in found.items():
        say(f"\n=== {wrong}\nagain: nox -s fuzz -- --seed {given.seed} --call {how.removeprefix('call ')}")
    say(f"\nseed {given.seed}: {made:,} calls, {len(found)} kinds of finding")
    return 1 if found or not made else 0


def say(text: str) -> None:
    print(text.encode("utf-8", "backslashreplace").decode())  # noqa: T201 - what it found is for people to read


if __name__ == "__main__":
    sys.exit(main())
