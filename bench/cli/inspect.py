"""`bench inspect`: a model or an image, step by step."""

from __future__ import annotations

import click

_PARTS = {
    "model": "What a model is made of, and what one forward pass of it costs.",
    "image": "What becomes of an image on its way into a model.",
}


class _Parts(click.Group):
    """Imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(_PARTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for a name that is not one."""
        if cmd_name not in _PARTS:
            return None
        found: click.Command = __import__(f"bench.cli.inspect_{cmd_name}", fromlist=["command"]).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, made without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_PARTS.items()))


@click.group(cls=_Parts)
def command() -> None:
    """Inspect a model or an image, step by step."""
