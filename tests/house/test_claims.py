"""Nothing the project says of itself claims clinical validity, and what people read first says what it is not."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md.j2")),
    *sorted((ROOT / "src" / "pacx").rglob("*.j2")),
    *sorted((ROOT / "src" / "pacx").rglob("*.html")),
    *sorted((ROOT / "src" / "pacx" / "reporting").glob("*.py")),
    *sorted((ROOT / "src" / "pacx").rglob("card.py")),
]
CLAIMS = (
    r"clinically[ -](valid|validated|proven|tested|useful|relevant|ready|safe)",
    r"clinical[ -](validity|validation|grade|use|benefit|utility|performance)",
    r"medical[ -]grade|\bFDA\b|\bCE[ -]mark|approved for|certified for",
    r"(radiologist|physician|expert)[ -]level|(better|faster) than (a |any )?(radiologist|physician|doctor)",
    r"outperforms? (radiologists|physicians|doctors|experts)",
    r"(can|may|to) (diagnose|detect disease|screen patients|triage)",
    r"improves? (patient|clinical) (care|outcome)",
    r"state[ -]of[ -]the[ -]art|ready for (the clinic|patients|hospitals)",
)
DENIAL = re.compile(r"\b(not?|never|nothing|neither|nor|none|without|nobody|refuses?)\b", re.IGNORECASE)
PRAISE = re.compile(
    r"\b(no other|none other|no less|no doubt|never before|not (only|just|merely)|nothing (but|less)|second to none|"
    r"without (doubt|question|equal|peer))\b",
    re.IGNORECASE,
)
"""Turns of phrase that hold a denial's word and strengthen the claim."""


def claims(text: str) -> list[str]:
    """Clauses that claim, unless they deny: the denial has to stand in the claim's own clause, before it."""
    clauses = re.split(r"(?<=[.:;!?|])\s+|\n\n|\n(?=[-*|#])|[,()]| [-–—]+ ", text)
    said = [" ".join(clause.split()) for clause in clauses]
    is_claim = re.compile("|".join(CLAIMS), re.IGNORECASE)
    return [
        clause
        for clause in said
        if (claim := is_claim.search(clause)) and not DENIAL.search(PRAISE.sub("", clause[: claim.start()]))
    ]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_claims_clinical_validity(path: Path) -> None:
    assert claims(path.read_text()) == []


@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/model-card.md", "src/pacx/reporting/report.py"])
def test_what_people_read_first_says_what_it_is_not(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.search(r"not a medical device", text)
    assert text.index("not a medical device") < 2500, "say it where it is read"


def test_the_patterns_catch_what_they_are_for() -> None:
    offences = [
        "The encoder is clinically validated.",
        "It reaches radiologist-level accuracy.",
        "Hospitals can diagnose heart failure with it.",
        "This improves patient outcomes.",
        "A medical-grade model,\nFDA cleared.",
        "State-of-the-art results on chest films.",
        "PaCX, like no other encoder, outperforms radiologists.",
        "Without doubt it can diagnose heart failure.",
        "No other encoder outperforms radiologists.",
        "It never tires (radiologist-level reading of films).",
        "It outperforms radiologists and needs no labels.",
        "Not only is it clinically validated; it is free.",
    ]
    for offence in offences:
        assert claims(offence), offence
    honest = [
        "It is not clinically validated. Nothing here can diagnose anybody.",
        "Neither the encoder nor a head of it is FDA cleared.",
        "No number here speaks of clinical validity, and none of radiologist-level accuracy.",
        "The encoder, which saw simulated films only, was never clinically tested.",
    ]
    assert not [each for each in honest if claims(each)]
