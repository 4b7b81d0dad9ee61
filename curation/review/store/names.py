"""Names of people: one spelling for one person, and none that looks like another's.

The rules follow Unicode's on identifiers and look-alikes (UAX 31, UTS 39), cut down to what names of people need.
"""

from __future__ import annotations

import re
import unicodedata

from curation.errors import StoreError

LONGEST = 400  # characters: an issuer's address and a subject of 255
_INVISIBLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}  # fillers that count as letters or marks
_BESIDE_LATIN = {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"}
_LOOKS = str.maketrans(
    "АВЕЅІЈКМНОРСТУХҮԌԚԜавеѕіјкмнорстухүԍԛԝһԁӏѵґ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαβεηικνορτυχωγ" + "ıɑɡ‐‑‒–—―−’‘ʼ",
    "ABESIJKMHOPCTYXYGQWabesijkmhopctyxygqwhdlvr" + "ABEZHIKMNOPTYXabenikvoptuxwy" + "iag-------'''",
)


def person_name(name: str) -> str:
    """The name as it is kept: NFC, without blanks at its ends, single blanks inside.

    Raises StoreError for an empty or very long name, control, format and invisible characters, characters that
    are another way to write plain ones, and letters of two scripts in one word.
    """
    if not name.strip():
        raise StoreError("nobody is named; say who it is (--as NAME).")
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in name.strip())
    kept = unicodedata.normalize("NFC", re.sub(" +", " ", spaced))
    if len(kept) > LONGEST:
        raise StoreError(f"the name {shown(kept[:20])}... has {len(kept):,} characters; a name has at most {LONGEST}.")
    hidden = next((c for c in kept if _hidden(c)), None)
    if hidden is not None:
        raise StoreError(
            f"the name {shown(kept)} holds the character U+{ord(hidden):04X}, which nobody sees or which steers the "
            "screen; write the name without it."
        )
    plain = unicodedata.normalize("NFKC", kept)
    if plain != kept:
        raise StoreError(f"the name {kept!r} holds characters that look like plain ones; write it as {plain!r}.")
    for word in re.findall(r"[^\W_]+", kept):
        scripts = {_script(c) for c in word if unicodedata.category(c) in ("Lu", "Ll", "Lt", "Lo")} - {""}
        if len(scripts) > 1 and not scripts <= _BESIDE_LATIN:
            raise StoreError(
                f"the name {kept!r} mixes {' and '.join(sorted(s.capitalize() for s in scripts))} letters in "
                f"{word!r}, so that it can pass for another name; write each word in one script."
            )
    return kept


def look(name: str) -> str:
    """What a name looks like: equal for names that are told apart by case, script or odd characters only."""
    plain = unicodedata.normalize("NFKC", "".join(c for c in name if not _hidden(c)))
    return " ".join(unicodedata.normalize("NFC", plain).translate(_LOOKS).casefold().translate(_LOOKS).split())


def shown(name: str) -> str:
    """A name for the screen: what steers a terminal or breaks a line stands there as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _hidden(c: str) -> bool:
    number = ord(c)
    selector = 0xFE00 <= number <= 0xFE0F or 0xE0100 <= number <= 0xE01EF or 0x180B <= number <= 0x180F
    return unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or selector or number in _INVISIBLE


def _script(c: str) -> str:
    return unicodedata.name(c, "").split(" ")[0]
