"""Foregone conclusions: pairs whose outcome is nearly certain before anybody is asked, told from their texts alone.

A label on one of them costs what every label costs and says what was known. Careful rules: where a short answer may be
the right one, the pair is left to people. Held against judged pools: an answer that was cut off, or that loops, still
wins a fifth to a third of its comparisons, so only one that breaks off early counts. English where words count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from curation.health.entries import EXAMPLES
from curation.health.finding import Finding
from curation.health.text_rules import ends_openly, loops, refuses, stopped_by_length
from curation.pool.checks import near_duplicates, words_of
from curation.pool.pair_lists import LocalPair, admissible_pairs, named_pair
from curation.pool.schema import Pool, Prompt, Response, prompt_text

Sign = Literal["alike", "empty", "canned", "word", "cut off"]
SIGNS: dict[Sign, str] = {  # what is said of the losing answer; of `alike`, of both
    "alike": "say the same",
    "empty": "is empty",
    "canned": "is a stock phrase that answers nothing",
    "word": "is a word or two where the other is a page",
    "cut off": "breaks off almost at once",
}
FEW = 3  # words: at most a word or two and a name
PAGE = 100  # words from which an answer is a page
SHORT = 400  # characters: no longer text is empty, a stock phrase or a word
CANNED = 12  # words at most of a stock phrase
ANSWERS = 15  # words from which an answer says something beside a stock phrase
WHOLE = 40  # words from which a whole answer stands beside one that was cut off
CLOSE = 0.7  # texts of which one is shorter than this share of the other are not near duplicates
EARLY = 0.2  # share of the other's words before which a cut is early

_INVISIBLE = re.compile(
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\x00-\x1f]+"
)
_HELP = (
    r"(?:to )?(?:help|assist)(?: you)?(?: today)?(?: with (?:that|this|it))?",
    r"(?:to )?do (?:that|this|it)(?: for you)?",
)
_YES = "|".join(
    """sure thing;sure;certainly;of course;absolutely;okay;ok;alright;all right;got it;understood;noted;great;perfect;
    awesome;gladly;no problem;with pleasure;my pleasure;will do""".replace("\n    ", "").split(";")
)  # fmt: skip
_SAID = "|".join(
    (
        *(rf"i(?:'d| would) be (?:happy|glad) {rest}" for rest in _HELP),
        *(rf"(?:i can|i will|i'll|let me) {rest}" for rest in _HELP),
        r"here (?:it is|you (?:go|are))",
        r"here(?:'s| is) (?:the|an|your|my) (?:answer|response|reply|solution)",
        r"(?:thanks|thank you)(?: so much| very much| a lot)?(?: for (?:asking|your (?:question|message|help|time)))?",
        r"you(?:'re| are) (?:very |most )?welcome",
        r"(?:that(?:'s| is) an? )?(?:great|good|interesting|excellent) question",
        r"i hope (?:this|that|it) helps?",
        r"(?:please )?let me know if you (?:have|need) (?:any|more|further|anything)[\w ]{0,20}",
        r"how (?:can|may) i (?:help|assist)(?: you)?(?: today)?",
        r"(?:hello|hi|hey)(?: there)?|goodbye|i'm sorry|sorry",
        r"n/a|null|todo|tbd|placeholder|\[?(?:no )?(?:response|answer|output)\]?|<(?:no )?\w{1,20}>",
    )
)
_STOP = r"[\s.!?:,…)(🙂😊👍-]*"
# An answer to "may I?", and to nothing else.
_ASSENT = re.compile(rf"^(?:{_YES}){_STOP}(?:(?:{_YES}){_STOP})?$", re.IGNORECASE)
_STOCK = re.compile(rf"^(?:(?:{_YES}){_STOP})?(?:{_SAID}){_STOP}$", re.IGNORECASE)
_YES_OR_NO = re.compile(
    r"(?:^|[.!?,:\n])\W*(?:so |and |but )?"
    r"(?:is|are|am|can|could|do|does|did|will|would|should|shall|may|was|were|has|have)\b(?! you\b)[^.!?\n]*\?\W*$",
    re.IGNORECASE,
)
# Prompts to which a word can be the whole answer, or whose answer is a form of its own.
_FORMS = "|".join(
    (
        r"(?:one|single|two|three|few)[ -]words?|in (?:a|one) (?:word|sentence|phrase|line)|name (?:a|an|the)|fill in",
        "yes or no|true or false|briefly|brief|shortly|short|concise|concisely|only|just|exactly|simply",
        r"classify|classification|categor\w+|labels?|sentiment|translat\w+|choose|choice|select|pick|guess|spell",
        "which|who|when|where|what|whose|whom|how (?:many|much|old|long|far|tall|big)|calculate|compute|solve",
        "is|are|does|do|did|can|could|was|were|has|have|synonyms?|antonyms?|rhymes?|titles?|capital",
    )
)
_BRIEF = re.compile(rf"\b(?:{_FORMS})\b|(?:^|\n)\s*(?:a\)|\(a\)|a\.)\s", re.IGNORECASE)
_A_CHOICE = re.compile(r"\d|^\W*(?:yes|no|true|false|maybe|[a-z])\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Foregone:
    """What is known of a pair beforehand. side: 0 or 1, the answer that will lose; None where both say the same."""

    sign: Sign
    side: int | None

    def sentence(self, names: tuple[str, str] = ("first", "second")) -> str:
        """For people. names: how the two answers are called on screen."""
        if self.side is None:
            return f"Both answers {SIGNS[self.sign]}: nobody can decide between them."
        return f"The {names[self.side]} answer {SIGNS[self.sign]}: the {names[1 - self.side]} one wins almost for sure."


class _Text:
    """An answer as the rules see it, each of which is asked once. cut: by its generator's own record."""

    def __init__(self, text: str, *, cut: bool = False) -> None:
        self.text, self.cut = text, cut

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.text)

    @cached_property
    def assents(self) -> bool:
        return len(self.text) <= SHORT and bool(_ASSENT.match(_bare(self.text)))

    @cached_property
    def loops(self) -> bool:
        return loops(self.text)

    @cached_property
    def sign(self) -> Sign | None:
        """What may make it lose to a sound answer; None for nearly every text."""
        if len(self.text) <= SHORT:
            if not _INVISIBLE.sub("", self.text):
                return "empty"
            if len(self.words) <= CANNED and (self.assents or _STOCK.match(_bare(self.text))):
                return "canned"
            if len(self.words) <= FEW:
                return "word"
        return "cut off" if self.cut or ends_openly(self.text) else None


def foregone(prompt: str, first: str, second: str) -> Foregone | None:
    """What is known of a pair before it is asked, from its texts; None where a person is needed."""
    if _alike(first, second):
        return Foregone("alike", None)
    return _decided(prompt, _Text(first), _Text(second))


def foregone_pairs(pool: Pool) -> list[tuple[LocalPair, Foregone]]:
    """((prompt number, candidate, candidate), what is known) of every pair whose winner is nearly certain.

    Pairs that say the same are left out: `pool_report` finds them. Time is linear in the texts.
    """
    found = []
    for number, prompt in enumerate(pool.prompts):
        texts = [_Text(r.text, cut=stopped_by_length(r.meta)) for r in prompt.responses]
        weak = {k for k, text in enumerate(texts) if text.sign is not None}
        if not weak:
            continue
        asked = prompt_text(prompt.prompt)
        for _, i, j in admissible_pairs(pool, number):
            known = _decided(asked, texts[i], texts[j]) if i in weak or j in weak else None
            if known is not None:
                found.append(((number, i, j), known))
    return found


def foregone_finding(pool: Pool) -> Finding | None:
    """The pairs whose winner is nearly certain, as a finding about a pool."""
    found = foregone_pairs(pool)
    if not found:
        return None
    counts = {sign: sum(known.sign == sign for _, known in found) for sign in SIGNS}
    named = "; ".join(f"{count:,} where one {SIGNS[sign]}" for sign, count in counts.items() if count)
    return Finding(
        key="foregone",
        severity="warning",
        title="Pairs whose outcome is nearly certain",
        sentence=f"In {len(found):,} of {pool.n_pairs:,} pairs the winner is known before anybody is asked: {named}. "
        "Such answers stand far from every other one, so a design is drawn to these pairs.",
        value=float(len(found)),
        unit="pairs",
        remedy="Exclude these pairs on the Pool page, or reject them in Review and fill the batch up.",
        examples=tuple(named_pair(pool, pair) for pair, _ in found[:EXAMPLES]),
    )


def _decided(prompt: str, first: _Text, second: _Text) -> Foregone | None:
    for side, (weak, other) in enumerate(((first, second), (second, first))):
        sign = weak.sign
        if sign is not None and _loses(sign, weak, other, prompt):
            return Foregone(sign, side)
    return None


def _loses(sign: Sign, weak: _Text, other: _Text, prompt: str) -> bool:
    """Whether an answer of this sign surely loses to that one."""
    length = len(other.words)
    least = {"empty": FEW, "canned": ANSWERS, "word": PAGE}.get(sign, WHOLE)
    if length < least or other.sign is not None or other.loops:
        return False
    if sign == "empty":
        return True
    if refuses(other.text):
        return False  # which of the two is wanted is what people are asked
    if sign == "word":
        return not _may_be_brief(prompt, weak, other)
    if sign == "canned":
        return not (weak.assents and _YES_OR_NO.search(prompt.strip()))
    return len(weak.words) < EARLY * length


def _may_be_brief(prompt: str, answer: _Text, other: _Text) -> bool:
    """Whether a word or two may be the right answer: asked for, a choice or a number, or what the long one says too."""
    if not answer.words or _A_CHOICE.search(answer.text) or _BRIEF.search(prompt[:600]) or _BRIEF.search(prompt[-600:]):
        return True
    return f" {' '.join(answer.words)} " in f" {' '.join(other.words)} "


def _alike(first: str, second: str) -> bool:
    if first == second:
        return True
    shorter, longer = sorted((len(first), len(second)))
    if longer <= SHORT and not _INVISIBLE.sub("", first + second):
        return True
    return shorter >= CLOSE * longer and bool(
        near_duplicates(Prompt("", "", (Response("0", first), Response("1", second))))
    )


def _bare(text: str) -> str:
    """A short text without what sets it off."""
    return text.replace("’", "'").translate({ord(sign): None for sign in "*_`#"}).strip("\"'“” \n\t")
