"""The model card that lies beside a released encoder: what it is, what it learnt from, what it is not for.

`task.release -> card -> encoder folder`. Says only what the run knows; performance is measured elsewhere.
"""

from collections.abc import Mapping


def encoder_card(title: str, summary: str, facts: Mapping[str, object]) -> str:
    """A short model card in Markdown.

    Args:
        title: what the encoder is called.
        summary: one paragraph: how it was trained and what its output means.
        facts: name to value, one row each.
    """
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""# {title}

{summary}

**Research software, not a medical device.** The encoder gives numbers that describe a chest radiograph; it makes no
diagnosis, and nothing here was tested for use on patients.

| | |
|---|---|
{rows}

## How to open it

`timm.create_model("local-dir:PATH", pretrained=True, num_classes=0)`, or `pacx.load_encoder(PATH)`, which also prepares
films as `preprocessing.json` says.

## Limits

It carries whatever the training films carry: their scanners, their patients, their tubes and wires. How well it does on
yours is for you to measure (`pacx evaluate`), by subgroup and with confidence intervals.
"""
