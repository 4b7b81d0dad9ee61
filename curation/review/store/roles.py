"""Who may do what, enforced where the work is done, not on the pages.

Until somebody is named, a workspace is in single-user mode and everybody may do everything; the first person named
must be an administrator, and from then on nobody unnamed may do anything but look.
"""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store.names import look, person_name, shown
from curation.review.store.tables import EventRow, PersonRow

Role = Literal["viewer", "reviewer", "approver", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
COMMAND_LINE = "command line"  # who acts where no name is given
NO_ROLE = "none"  # takes a person's role away
_MAY = {"viewer": "look", "reviewer": "decide", "approver": "sign and export", "admin": "name people"}


def require(session: Session, who: str, role: Role) -> str:
    """The name under which `who` acts. Raises StoreError unless that person has `role` or a higher one."""
    named = people(session)
    name = _acting(session, who, named)
    if not _reaches(named, name, role):
        held = named.get(name)
        what = f"has the role {held}" if held else "is not named in this workspace"
        raise StoreError(
            f"{shown(name)} {what} and may not do this: it takes the role {role} (may {_MAY[role]}); ask an "
            "administrator."
        )
    return name


def may(session: Session, who: str, role: Role) -> bool:
    """Whether `who` has `role` or a higher one; everybody has, until somebody is named."""
    named = people(session)
    return _reaches(named, _acting(session, who, named), role)


def _reaches(named: dict[str, str], name: str, role: Role) -> bool:
    held = named.get(name)
    return not named or (held is not None and ROLES.index(held) >= ROLES.index(role))


def _acting(session: Session, who: str, named: dict[str, str]) -> str:
    """The person's name as it is kept. One that was in use before names were checked goes on as it is."""
    if who in named:
        return who
    try:
        tidy = person_name(who)
    except StoreError:
        if not named and who.strip() and _has_acted(session, who):
            return who
        raise
    if tidy != who and not named and _has_acted(session, who):
        return who
    return tidy


def _has_acted(session: Session, who: str) -> bool:
    return session.scalar(select(EventRow.id).where(EventRow.who == who).limit(1)) is not None


def people(session: Session) -> dict[str, str]:
    """name -> role, by name."""
    return {row.name: row.role for row in session.scalars(select(PersonRow).order_by(PersonRow.name))}


def set_role(session: Session, name: str, role: str) -> str:
    """Give a person a role, or with `none` take it away. Returns the name as it is kept.

    Raises StoreError for an unknown role, one that leaves no administrator, and a new name that is no name or looks
    like that of somebody who is named.
    """
    if role not in (*ROLES, NO_ROLE):
        raise StoreError(f"role {role!r} is unknown; use {', '.join(ROLES)}, or {NO_ROLE} to take it away.")
    named = people(session)
    if name not in named:
        name = person_name(name)
    if name not in named:
        like = next((person for person in named if look(person) == look(name)), None)
        if like is not None:
            raise StoreError(
                f"{name!r} looks like {shown(like)!r}, who is named here already; name that person, or choose a name "
                "that can be told from it."
            )
        if role == NO_ROLE:
            raise StoreError(f"{name} is not named in this workspace, so there is no role to take away.")
    if role != "admin" and "admin" not in [held for person, held in named.items() if person != name]:
        raise StoreError(
            f"{shown(name)} as {role} would leave the workspace without an administrator; name an administrator first."
        )
    if role == NO_ROLE:
        session.delete(session.get_one(PersonRow, name))
    else:
        session.merge(PersonRow(name=name, role=role))
    session.flush()
    return name
