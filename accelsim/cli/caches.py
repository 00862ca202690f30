"""``accelsim cache``."""

from __future__ import annotations

import click


@click.group("cache")
def cache_commands() -> None:
    """Plans and programs kept from earlier runs, in $ACCELSIM_CACHE or the user's cache directory."""


@cache_commands.command("clear")
def clear() -> None:
    """Remove every entry."""
    from accelsim.cache import Cache

    cache = Cache()
    count, size = cache.clear()
    click.echo(f"{cache.folder}: {count:,} {'entry' if count == 1 else 'entries'} removed, {size:,} bytes")


@cache_commands.command("path")
def path() -> None:
    """Print the directory."""
    from accelsim.cache import directory

    click.echo(str(directory()))
