"""A fixed colour and marker for every strategy, told apart by colour-blind readers.

Nine hues on white and nine on a dark page, chosen by search for the largest smallest distance in
OKLab under normal vision and simulated protanopia, deuteranopia and tritanopia (Machado et al.
2009), each at a contrast of at least 3:1. Nine hues are the limit of what colour can carry, so
every strategy has a marker as well, and `joint_*` shares the colour of its strategy, hollow.
"""

from __future__ import annotations

from dataclasses import dataclass

from simo_cl.results.run import Run
from simo_cl.results.suite import Suite

Dashes = tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Style:
    """How a row is drawn everywhere.

    Attributes:
        colour, dark: hex colours on white and on the dark page.
        marker: a matplotlib marker.
        filled: hollow markers are the runs that see all classes at once.
        dashes: matplotlib line style; variants of one strategy differ by it.
    """

    colour: str
    dark: str
    marker: str
    filled: bool = True
    dashes: Dashes = (0, ())


# Named by role: what text, lines and backgrounds are made of, on white and on the dark page.
INK = ("#1b222c", "#e7ebf0")
MUTED = ("#5c6673", "#a3adba")
RULE = ("#d9dee5", "#343c47")
SURFACE = ("#ffffff", "#15191f")

GREY = ("#828a96", "#7f8996")
HUES = {
    "amber": ("#9c6100", "#f8c984"),
    "rose": ("#f61266", "#c4187c"),
    "red": ("#9a2e3e", "#e8735d"),
    "violet": ("#8a66a7", "#bd81cb"),
    "green": ("#305306", "#a9bd35"),
    "teal": ("#008762", "#4afddf"),
    "plum": ("#6e1f5d", "#fd94bc"),
    "blue": ("#2852ae", "#689ffe"),
    "sky": ("#5f91f5", "#2dcdf9"),
}
_STRATEGIES = {
    "finetune": Style(*GREY, marker="v"),
    "joint": Style(*INK, marker="*", filled=False),
    "er": Style(*HUES["amber"], marker="s"),
    "er_balanced": Style(*HUES["rose"], marker="D"),
    "er_ace": Style(*HUES["red"], marker="^"),
    "der": Style(*HUES["violet"], marker="P"),
    "icarl": Style(*HUES["green"], marker="X"),
    "supcon": Style(*HUES["teal"], marker="p"),
    "triplet": Style(*HUES["plum"], marker="<"),
    "simo": Style(*HUES["blue"], marker="o"),
    "er_simo": Style(*HUES["sky"], marker="h"),
    "joint_supcon": Style(*HUES["teal"], marker="p", filled=False),
    "joint_triplet": Style(*HUES["plum"], marker="<", filled=False),
    "joint_simo": Style(*HUES["blue"], marker="o", filled=False),
}
_DASHES: tuple[Dashes, ...] = (
    (0, ()),
    (0, (5, 1.5)),
    (0, (1.5, 1.5)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (9, 2)),
    (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)),
)
_SPARE_MARKERS = ">dH8"


def styles(suite: Suite) -> dict[str, Style]:
    """The look of every row of a suite; a strategy looks the same in every suite.

    Entries of one strategy share its look, and differ in their dashes, as a grid's points do.
    Strategies that are not this project's take the hues that the suite leaves unused, in the
    plan's order, with markers of their own.
    """
    looks: dict[str, str] = {}
    for run in suite.runs:
        if run.label not in looks or _is_joint(run):
            looks[run.label] = _look(run)
    names = list(dict.fromkeys(looks.values()))
    by_name = {name: _STRATEGIES[name] for name in names if name in _STRATEGIES}
    used = {style.colour for style in by_name.values()}
    spare = [hue for hue in HUES.values() if hue[0] not in used] or list(HUES.values())
    for index, name in enumerate(name for name in names if name not in _STRATEGIES):
        round_, place = divmod(index, len(spare))
        marker = _SPARE_MARKERS[(place + round_) % len(_SPARE_MARKERS)]
        by_name[name] = Style(*spare[place], marker)
    seen = dict.fromkeys(names, 0)
    by_label = {}
    for label, name in looks.items():
        style, dashes = by_name[name], _DASHES[seen[name] % len(_DASHES)]
        by_label[label] = Style(style.colour, style.dark, style.marker, style.filled, dashes)
        seen[name] += 1
    return by_label


def _look(run: Run) -> str:
    """A strategy, or ``joint_`` and one that trains on everything at once. Older plans call that
    one so themselves."""
    joint = _is_joint(run) and not run.built_by.startswith("joint")
    return f"joint_{run.built_by}" if joint else run.built_by


def _is_joint(run: Run) -> bool:
    """Whether its settings say so or, before it has begun, its name."""
    settings = run.config.get("settings")
    named = run.strategy == f"joint_{run.built_by}"
    return bool(settings.get("joint", named)) if isinstance(settings, dict) else named


def css_variables(dark: bool) -> str:
    """The declarations that give every drawn colour its value on a light or dark page."""
    return " ".join(f"{name}: {pair[dark]};" for name, pair in _VARIABLES.items())


def css_variable_of(colour: str) -> str | None:
    """`var(--...)` for a light colour of the palette, whatever its case; None for any other."""
    return _VARIABLE_OF.get(colour.lower())


_VARIABLES = {
    "--ink": INK,
    "--muted": MUTED,
    "--rule": RULE,
    "--surface": SURFACE,
    "--hue-grey": GREY,
    **{f"--hue-{name}": pair for name, pair in HUES.items()},
}
_VARIABLE_OF = {pair[0]: f"var({name})" for name, pair in _VARIABLES.items()}
