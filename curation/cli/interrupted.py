"""What an interrupted command leaves behind, told for each command."""

from __future__ import annotations

KEPT_PARTS = "what was finished is kept; run it again to go on"


IN_THE_STORE = "what was recorded before that is in the store whole or not at all; look, then do it again"


STOPPED = {
    "features": "finished parts are kept; go on with --resume",
    "model": "no folder was made; a wheel that had arrived whole is kept",
    "experiment imdb": KEPT_PARTS,
    "experiment hh": KEPT_PARTS,
    "experiment answers": KEPT_PARTS,
    "backtest --suite": KEPT_PARTS,
    "rate": "nothing was recorded; what the judge answered is kept, run it again to go on",
    "topup": f"the new batch may be in the workspace already; {IN_THE_STORE}",
    **dict.fromkeys(("decide", "import-labels", "sign", "people", "settle"), IN_THE_STORE),
    "export": "the files are there whole or not at all, and may be although the export is not recorded; do it again",
    **dict.fromkeys(("solve", "check"), "a file or folder that was not finished is not there; one that was is whole"),
    **dict.fromkeys(("compare", "verify", "labels"), "it writes nothing"),
    "dashboard": "what was decided there is kept",
    **dict.fromkeys(
        ("bench", "backtest", "experiment tabular", "experiment contextual"),
        "a result that was not finished is not there, and one of an earlier run stays",
    ),
}


def kept_after(given: list[str]) -> str:
    """What is left of a command, given as its words, that was interrupted."""
    words = [word for word in given if not word.startswith("-")]
    name = " ".join(words[:2]) if words[:1] == ["experiment"] else " ".join(words[:1])
    if name == "backtest" and any(word.split("=")[0] == "--suite" for word in given):
        name = "backtest --suite" if any(word.split("=")[0] == "--out" for word in given) else name
    return STOPPED.get(name, "nothing was begun")
