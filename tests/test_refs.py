"""Which commit a ref means, and what is said where it means none or cannot be checked out: real repositories."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.ab.git import repository
from bench.ab.refs import commit_of
from bench.ab.worktrees import checkouts
from bench.errors import UsageError


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def made(folder: Path, **files: str) -> Path:
    """A repository on branch main with one commit of these files."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--initial-branch=main")
    return committed(folder, **{"net.py": "one\n", **files})


def committed(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "files")
    return folder


def said(top: Path, ref: str) -> str:
    with pytest.raises(UsageError) as error:
        commit_of(top, ref)
    return str(error.value)


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """main with a tag, and a branch that is one commit further."""
    folder = made(tmp_path / "upstream")
    git(folder, "tag", "v1.0")
    git(folder, "checkout", "-q", "-b", "feature")
    return committed(folder, **{"net.py": "two\n"})


def checked_out_as_ci_does(upstream: Path, folder: Path, *depth: str) -> Path:
    """A detached HEAD, branches of origin alone, no tags."""
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "remote", "add", "origin", f"file://{upstream}")
    refs = ["feature"] if depth else ["+refs/heads/*:refs/remotes/origin/*"]
    git(folder, "fetch", "-q", "--no-tags", *depth, "origin", *refs)
    git(folder, "checkout", "-q", "--detach", "FETCH_HEAD" if depth else "refs/remotes/origin/feature")
    return folder


def test_a_branch_that_only_the_remote_has_is_named_with_it(upstream: Path, tmp_path: Path) -> None:
    clone = checked_out_as_ci_does(upstream, tmp_path / "ci")
    text = said(clone, "main")
    assert "There is no branch main here, but origin/main: --baseline-ref origin/main" in text
    assert "fetch" not in text
    assert commit_of(clone, "origin/main") == git(upstream, "rev-parse", "main")


def test_a_tag_of_a_whole_clone_without_tags_is_to_be_fetched_and_the_history_is_not(
    upstream: Path, tmp_path: Path
) -> None:
    text = said(checked_out_as_ci_does(upstream, tmp_path / "ci"), "v1.0")
    assert "git fetch --tags" in text
    assert "history" not in text
    assert "fetch-depth" not in text


@pytest.mark.parametrize("ref", ["main", "origin/main", "HEAD~1", "v1.0"])
def test_a_shallow_clone_lacks_history(upstream: Path, tmp_path: Path, ref: str) -> None:
    clone = checked_out_as_ci_does(upstream, tmp_path / "ci", "--depth=1")
    assert "holds only part of the history" in said(clone, ref)
    assert "fetch-depth: 0" in said(clone, ref)


def test_a_branch_of_the_remote_that_was_not_fetched_is_named_with_the_command(upstream: Path, tmp_path: Path) -> None:
    clone = checked_out_as_ci_does(upstream, tmp_path / "ci")
    assert "`git fetch origin release`" in said(clone, "origin/release")


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("mian", "did you mean 'main'?"),
        ("--upload-pack=x", "there is no commit '--upload-pack=x'"),
        ("HEAD:net.py", "It names a file"),
        ("HEAD^{tree}", "It names a folder"),
        ("main~3", "main has no such ancestor"),
        ("main^{/no such words}", "there is no commit"),
    ],
)
def test_what_is_no_commit_is_said_to_be_none(upstream: Path, ref: str, says: str) -> None:
    text = said(upstream, ref)
    assert says in text
    assert "fetch" not in text, "there is nowhere to fetch from"


def test_a_name_of_a_branch_and_of_a_tag_is_refused_where_they_are_different_commits(upstream: Path) -> None:
    git(upstream, "tag", "feature", "main")
    text = said(upstream, "feature")
    assert "refs/heads/feature or --baseline-ref refs/tags/feature" in text
    assert commit_of(upstream, "refs/heads/feature") == git(upstream, "rev-parse", "HEAD")
    git(upstream, "tag", "-f", "feature", "refs/heads/feature")
    assert commit_of(upstream, "feature") == git(upstream, "rev-parse", "HEAD")


def test_a_repository_without_a_commit_is_said_to_have_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert "no commit at all yet" in said(tmp_path, "HEAD")


def test_a_ref_of_the_repository_around_a_submodule_is_answered_with_the_submodules_commit(tmp_path: Path) -> None:
    inner, outer = made(tmp_path / "inner"), made(tmp_path / "outer")
    git(outer, "submodule", "add", "-q", str(inner), "libs/net")
    git(outer, "commit", "-qm", "with a submodule")
    git(outer, "tag", "v2")
    commit = git(inner, "rev-parse", "HEAD")
    text = said(repository(outer / "libs" / "net"), "v2")
    assert "in net, a submodule of outer" in text
    assert f"--baseline-ref {commit[:12]}" in text
    assert commit_of(outer / "libs" / "net", commit[:12]) == commit


def refused(folder: Path) -> str:
    with pytest.raises(UsageError) as error:
        repository(folder)
    return str(error.value)


def test_a_folder_outside_of_any_working_tree_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    assert "it is in no git repository" in refused(tmp_path / "plain")
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    assert "bare repository" in refused(tmp_path / "bare.git")
    home = made(tmp_path / "home")
    assert "bare repository or in a .git folder" in refused(home / ".git")
    git(home, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    assert repository(tmp_path / "linked") == tmp_path / "linked"
    home.rename(tmp_path / "moved")
    assert "which is not there: the repository was moved" in refused(tmp_path / "linked")


def test_another_owners_repository_is_told_with_what_trusts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path / "theirs")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    assert f"git config --global --add safe.directory '{folder}'" in refused(folder)


@pytest.mark.parametrize("name", ["with a blank", "it's", 'say "so"', "ünï"])
def test_a_commit_is_checked_out_from_any_folder_and_from_a_linked_worktree(tmp_path: Path, name: str) -> None:
    folder = made(tmp_path / name)
    git(folder, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    committed(folder, **{"net.py": "two\n"})
    for top in (folder, tmp_path / "linked"):
        place = tmp_path / f"place of {top.name}"
        place.mkdir()
        with checkouts(repository(top), ["main~1"], place) as (made_there,):
            assert (made_there.folder / "net.py").read_text() == "one\n"
            assert made_there.stands_for(top) == made_there.folder
        assert git(folder, "worktree", "list").count("\n") == 1


def test_a_process_of_a_commit_stands_where_the_person_does_as_far_as_the_commit_goes(tmp_path: Path) -> None:
    folder = made(tmp_path / "repository", **{"old/data.txt": "x"})
    (folder / "new").mkdir()
    (tmp_path / "place").mkdir()
    with checkouts(folder, ["HEAD"], tmp_path / "place") as (checkout,):
        assert checkout.stands_for(folder / "old") == checkout.folder / "old"
        assert checkout.stands_for(folder / "new") == checkout.folder
        assert checkout.stands_for(tmp_path) == tmp_path


def no_checkout(folder: Path, place: Path, bytes_a_file: int | None = None) -> str:
    """What is said where HEAD cannot be checked out, in a process of its own."""
    act = (
        "import sys; from pathlib import Path; from bench.ab.worktrees import checkouts; from bench.errors import *\n"
        "try:\n    with checkouts(Path(sys.argv[1]), ['HEAD'], Path(sys.argv[2])): pass\n"
        "except UsageError as error: print(error)"
    )
    limit = None if bytes_a_file is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_a_file,) * 2)
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", act, str(folder), str(place)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limit,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )
    assert git(folder, "worktree", "list").count("\n") == 0
    return done.stdout


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    folder = made(tmp_path / "repository", **{"big.txt": "x" * 200_000})
    text = no_checkout(folder, tmp_path / "place", 65_536)
    assert "its files do not fit in" in text
    assert str(tmp_path / "place") in text
    assert "signal" not in text


def test_git_lfs_that_is_not_installed_is_named(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    folder = made(tmp_path / "repository", **{"w.bin": pointer})
    committed(folder, **{".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    for key, command in (
        ("process", "no-such-lfs filter-process"),
        ("smudge", "no-such-lfs smudge"),
        ("required", "1"),
    ):
        git(folder, "config", f"filter.lfs.{key}", command)
    text = no_checkout(folder, tmp_path / "place")
    assert "Git LFS" in text
    assert "git-lfs" in text
    assert "git lfs pull" in text


def test_submodules_are_checked_out_with_the_commits_that_wanted_them(tmp_path: Path) -> None:
    inner, outer = made(tmp_path / "inner"), made(tmp_path / "outer")
    git(outer, "submodule", "add", "-q", str(inner), "libs/net")
    git(outer, "commit", "-qm", "with a submodule")
    committed(outer / "libs" / "net", **{"net.py": "two\n"})
    git(outer, "commit", "-qam", "a newer one")
    place = tmp_path / "place"
    place.mkdir()
    with checkouts(outer, ["HEAD~1", "HEAD"], place) as sides:
        assert [(side.folder / "libs" / "net" / "net.py").read_text() for side in sides] == ["one\n", "two\n"]
    assert not list(place.iterdir())
    for folder in (outer, outer / "libs" / "net"):
        assert git(folder, "worktree", "list").count("\n") == 0


def test_a_repository_that_may_not_be_written_is_told_so(tmp_path: Path) -> None:
    folder = made(tmp_path / "repository")
    (folder / ".git" / "worktrees").write_text("in the way")
    assert "git clone" in no_checkout(folder, tmp_path / "place")
