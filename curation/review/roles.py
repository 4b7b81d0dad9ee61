"""Who may do what, enforced where the work is done, not on the pages.

Until somebody is named, a workspace is in single-user mode and everybody may do everything; the first person named
must be an administrator, and from then on nobody unnamed may do anything but look.
"""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.tables import PersonRow

Role = Literal["viewer", "reviewer", "approver", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
_MAY = {"viewer": "look", "reviewer": "decide", "approver": "sign and export", "admin": "name people"}


def require(session: Session, who: str, role: Role) -> None:
    """Raise StoreError unless `who` has `role` or a higher one."""
    if single_user(session):
        return
    row = session.get(PersonRow, who)
    held = row.role if row is not None else None
    if held is None or ROLES.index(held) < ROLES.index(role):
        what = f"has the role {held}" if held else "is not named in this workspace"
        raise StoreError(
            f"{who} {what} and may not do this: it takes the role {role} (may {_MAY[role]}); ask an administrator."
        )


def single_user(session: Session) -> bool:
    """Whether nobody has been named yet."""
    return not session.scalar(select(func.count()).select_from(PersonRow))


def people(session: Session) -> dict[str, str]:
    """name -> role, by name."""
    return {row.name: row.role for row in session.scalars(select(PersonRow).order_by(PersonRow.name))}


def set_role(session: Session, name: str, role: str) -> None:
    """Give a person a role. Raises StoreError for an unknown role or one that leaves no administrator."""
    if role not in ROLES:
        raise StoreError(f"role {role!r} is unknown; use {', '.join(ROLES)}.")
    if not name.strip():
        raise StoreError("a person needs a name; it is empty.")
    others = {person: held for person, held in people(session).items() if person != name}
    if role != "admin" and "admin" not in others.values():
        raise StoreError(
            f"{name} as {role} would leave the workspace without an administrator; name an administrator first."
        )
    session.merge(PersonRow(name=name, role=role))
    session.flush()
