"""`qc people`, and the first person of a new station: on the terminal of the station's machine.

Who may write the file of the people may change them; the terminal asks for no login.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import typer

from edge.station.people import MIN_PASSWORD, People
from edge.station.peoplefile import people_file
from qc.console import Command
from qc.errors import UsageError
from qc.journal import Journal

_BY = "terminal"


def add(running: Command, journal: Path, name: str, role: str, language: str | None) -> None:
    """Add a person; the first one makes the file."""
    people = People(journal, make=True)
    person = people.add(name, role, _password(), language=language, by=_who())
    running.result({"name": person.name, "role": person.role, "file": str(people.file.path)})
    running.say(f"{person.name} may log in as {person.role}")


def show(running: Command, journal: Path) -> None:
    """List the people."""
    found = People(journal).list()
    facts = [
        {"name": p.name, "role": p.role, "language": p.language, "disabled": p.disabled}
        for p in found
    ]
    running.result({"people": facts})
    for person in found:
        running.say(f"{person.name}: {person.role}{', disabled' if person.disabled else ''}")
    if not found:
        running.say("nobody may log in yet")


def disable(running: Command, journal: Path, name: str, *, enable: bool) -> None:
    """End what a person may do, or allow it again."""
    people = People(journal)
    people.disable(name, disabled=not enable, by=_who())
    person = people.get(name)
    running.result({"name": person.name, "disabled": person.disabled})
    running.say(f"{person.name} may {'' if enable else 'not '}log in")


def password(running: Command, journal: Path, name: str) -> None:
    """Give a person another password; sessions and a lock-out of the name end."""
    people = People(journal)
    person = people.get(name)
    people.change_password(name, _password(), by=_who())
    running.result({"name": person.name})
    running.say(f"{person.name} has a new password")


def people_of(journal: Path) -> People:
    """The people of a station that starts; on a terminal the first is asked for.

    Raises:
        UsageError: nobody may log in, and there is no terminal to ask on.
        DataError: there is no journal, or no sound file of people.
    """
    Journal(journal)  # one that is missing or no journal is told before anything is asked
    if people_file(journal).exists() and any(not p.disabled for p in People(journal).list()):
        return People(journal)
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody may log in yet",
            where=journal,
            expected=f"a first person (qc people add {journal} NAME --role engineer), or "
            "--reviewer NAME for one person alone on this machine",
        )
    people = People(journal, make=True)
    typer.echo("Nobody may log in yet. The first person is an engineer, who adds others.", err=True)
    name = typer.prompt("Name", err=True)
    people.add(name, "engineer", _password(), by=_who())
    return people


def _password() -> str:
    """From a prompt, twice and unseen; from a script, the first line of stdin. Never an argument:
    those can be read in the list of processes."""
    if sys.stdin.isatty():
        return str(
            typer.prompt(
                f"Password ({MIN_PASSWORD} characters or more)",
                hide_input=True,
                confirmation_prompt=True,
                err=True,
            )
        )
    return sys.stdin.readline().rstrip("\r\n")


def _who() -> str:
    try:
        return f"{_BY} of {getpass.getuser()}"
    except (OSError, KeyError, ImportError):
        return _BY  # a container whose user has no name
