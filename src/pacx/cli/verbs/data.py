"""``pacx data``: list datasets, and pack one: decode its films once for everything that follows.

What an action works with is imported when it is called: linking knows nothing of films' pixels.
"""

from collections.abc import Sequence

from pacx.cli.terminal import choose, say

_EXAMPLE = "pacx data pack folder --root films --out packs/films --image-size-px 224"


def _list() -> None:
    from pacx.data.dataset import datasets

    for name, dataset in datasets().usable().items():
        card = dataset.card
        lines = [
            f"{name:<16} {card.title}",
            f"task: {card.task.value}; licence: {card.licence}",
            f"get it: {card.access}",
        ]
        lines += [f"       {pattern}" if row else f"files: {pattern}" for row, pattern in enumerate(card.layout)]
        say(f"\n{'':<17}".join(lines))


def main(words: Sequence[str]) -> None:
    """List, pack, merge, examine, compare or link datasets, as the first word says."""
    actions = {
        "list": "the datasets there is an adapter for, and what to download",
        "doctor": "is a copy of a dataset complete and right?",
        "pack": "decode a dataset once into a pack",
        "merge": "put the shards of a pack together",
        "overlap": "films and patients that packs have in common",
        "link": "which film, ECG and laboratory values belong together, from a hospital's own tables",
    }
    action, rest = choose(words, "data", actions, _EXAMPLE)
    if action == "list":
        _list()
    elif action == "link":
        _link(rest)
    elif action == "merge":
        from pacx.cli.verbs.data_actions import pack

        pack.merge(rest)
    elif action == "overlap":
        from pacx.cli.verbs.data_actions import shared_films

        shared_films.main(rest)
    else:
        _of_dataset(action, rest)


def _link(words: Sequence[str]) -> None:
    from pacx.cli.verbs.data_actions import link
    from pacx.linking.source import sources

    copies = sources().usable()
    name, rest = choose(words, "data link", {name: copies[name].card.title for name in copies}, link.EXAMPLE)
    link.main(copies[name], rest)


def _of_dataset(action: str, words: Sequence[str]) -> None:
    """Pack or examine."""
    from pacx.cli.verbs.data_actions import doctor, pack, pack_ecg
    from pacx.data.dataset import datasets

    known = datasets().usable()
    titles = {name: dataset.card.title for name, dataset in known.items()}
    if action == "pack":
        titles["ecg"] = pack_ecg.TITLE
    example = doctor.EXAMPLE if action == "doctor" else pack.EXAMPLE
    name, rest = choose(words, f"data {action}", titles, example)
    if name == "ecg":
        pack_ecg.main(rest)
        return
    (doctor.main if action == "doctor" else pack.main)(known[name], rest)
