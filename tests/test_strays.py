"""What a process that is to measure one tree read from another: code, files, and what is nobody's."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import CaseError
from bench.worker.strays import OpenedFiles, refuse_strays


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A working tree, and a commit's own that lacks what git ignores."""
    top, own = tmp_path / "top", tmp_path / "own"
    for tree in (top, own):
        (tree / "configs").mkdir(parents=True)
        (tree / "configs" / "net.toml").write_text(str(tree))
    (top / "ignored.bin").write_text("x")
    return top, own


@pytest.fixture
def opened() -> Iterator[OpenedFiles]:
    """What this very process opens while a test runs."""
    files = OpenedFiles()
    files.watch()
    yield files
    files.stop()


def test_code_of_another_tree_is_refused(trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    top, own = trees
    (top / "stray_of_a_test.py").write_text("")
    monkeypatch.syspath_prepend(str(top))
    refuse_strays(str(top), str(own))
    importlib.import_module("stray_of_a_test")
    monkeypatch.delitem(sys.modules, "stray_of_a_test", raising=False)
    importlib.import_module("stray_of_a_test")
    refuse_strays("", str(own))
    refuse_strays(str(top / "elsewhere"), str(own))
    with pytest.raises(CaseError, match="stray_of_a_test was loaded from the working tree"):
        refuse_strays(str(top), str(own))


@pytest.mark.parametrize("way", ["absolute", "relative", "link", "bytes", "os.open"])
def test_a_file_that_the_own_tree_has_too_is_refused_however_it_is_opened(
    trees: tuple[Path, Path], opened: OpenedFiles, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    top, own = trees
    name = top / "configs" / "net.toml"
    monkeypatch.chdir(top / "configs")
    (own / "link").symlink_to(name)
    if way == "os.open":
        os.close(os.open(name, os.O_RDONLY))
    else:
        names = {"absolute": name, "relative": "net.toml", "link": own / "link", "bytes": os.fsencode(name)}
        with open(names[way]):  # noqa: PTH123 - by bytes, too, as models do
            pass
    monkeypatch.chdir(own)
    with pytest.raises(CaseError, match=r"it opened configs/net\.toml from the working tree"):
        refuse_strays(str(top), str(own), opened=opened.names)


def test_a_configuration_in_python_that_is_read_and_not_imported_is_a_file(
    trees: tuple[Path, Path], opened: OpenedFiles
) -> None:
    top, own = trees
    for tree in trees:
        (tree / "config.py").write_text("depth = 1")
    opened.stop()
    opened = OpenedFiles()
    opened.watch()
    exec((top / "config.py").read_text(), {})
    opened.stop()
    with pytest.raises(CaseError, match=r"config\.py"):
        refuse_strays(str(top), str(own), opened=opened.names)


def test_the_working_tree_may_not_read_the_commits_files_either(trees: tuple[Path, Path], opened: OpenedFiles) -> None:
    top, own = trees
    (own / "configs" / "net.toml").read_text()
    assert refuse_strays(str(top), str(own), opened=opened.names) == []
    with pytest.raises(CaseError, match="from the other side's commit"):
        refuse_strays(str(own), opened=opened.names)


def test_a_file_that_the_commit_lacks_is_shared_and_said_to_be(trees: tuple[Path, Path], opened: OpenedFiles) -> None:
    top, own = trees
    (top / "ignored.bin").read_text()
    (note,) = refuse_strays(str(top), str(own), opened=opened.names)
    assert note.startswith("ignored.bin was read from the working tree")


def test_what_is_nobodys_may_lie_below_the_other_tree(trees: tuple[Path, Path]) -> None:
    top, own = trees
    nested = top / "tmp" / "own"  # TMPDIR in the repository
    places = {
        "installed": top / ".venv" / "lib" / "site-packages" / "data.json",
        "git's": top / ".git" / "HEAD",
        "a cache": top / "cache" / "kernel.json",
        "the own tree": nested / "configs" / "net.toml",
    }
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    opened = OpenedFiles()
    opened.watch()
    for path in places.values():
        path.read_text()
    made = top / "made.txt"
    made.write_text("by this process")
    made.read_text()
    opened.stop()
    assert refuse_strays(str(top), str(nested), [str(top / "cache")], opened.names) == []
    assert len(refuse_strays(str(top), str(own), [], opened.names)) == 1, "the cache, where it is not spared"


def test_a_repository_below_an_installation_is_still_watched(
    trees: tuple[Path, Path], opened: OpenedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, own = trees
    monkeypatch.setattr(sys, "prefix", str(top.parent))
    (top / "configs" / "net.toml").read_text()
    with pytest.raises(CaseError):
        refuse_strays(str(top), str(own), opened=opened.names)


def test_nothing_is_noted_once_it_has_stopped(trees: tuple[Path, Path], opened: OpenedFiles) -> None:
    opened.stop()
    (trees[0] / "ignored.bin").read_text()
    assert not any(name.endswith("ignored.bin") for name in opened.names)
