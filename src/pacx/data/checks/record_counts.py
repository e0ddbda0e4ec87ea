"""Counting records: the numbers by which a dataset on disk is recognised as the whole one.

`records -> words and counts -> doctor`. The same words stand in a dataset's card (what its makers ship) and in the
``twin.json`` of a simulated twin (what the simulator wrote), so that either can be held against what was read.
"""

from collections.abc import Mapping

from pacx.data.records import MASK_PREFIX, SPLITS, Records


def tally(records: Records) -> Mapping[str, int]:
    """Count what can be counted.

    Returns:
        "films" and "patients"; "films:SPLIT" and "patients:SPLIT" for each of train, val and test that occurs;
        "view:VIEW" films of each view that is known; "present:LABEL" films where the label is 1, and "unknown:LABEL"
        where it is NaN; "mask:NAME" films that have the mask.
    """
    table = records.table
    counts = {"films": len(table), "patients": table["patient_id"].nunique()}
    for split in SPLITS:
        chosen = table[table["split"] == split]
        if len(chosen):
            counts |= {f"films:{split}": len(chosen), f"patients:{split}": chosen["patient_id"].nunique()}
    counts |= {f"view:{view}": int(count) for view, count in table["view"].value_counts().items() if view}
    for name in records.label_names:
        counts[f"present:{name}"] = int((table[name] == 1).sum())
        counts[f"unknown:{name}"] = int(table[name].isna().sum())
    counts |= {f"mask:{name}": int((table[MASK_PREFIX + name] != "").sum()) for name in records.mask_names}
    return counts
