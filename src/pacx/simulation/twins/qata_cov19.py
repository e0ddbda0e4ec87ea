"""QaTa-COV19 for simulated patients: version 2 with its two sets, and version 1 beside it, in which masks are missing.

Names come in two families. ``covid_<n>.png`` are films of COVID-QU-Ex's twin; ``sub-S..._ses-E..._...png`` are BIMCV's,
two films for every other patient. Every film shows a focus low in one lung; the mask is what is opaque, with soft
edges, so that it holds greys between 0 and 255. Patients of BIMCV are wholly in the training or in the test set.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.simulation.recruitment import COVID_LINE, Cast, cast, filmed, has_covid, stretched
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_SIDE_PX = 224
_AT_LEAST = 8
_SPLITS = {"Train Set": "train", "Test Set": "test"}


class QataCov19Twin(Twin):
    """Writes both versions; a third of the patients is known from COVID-QU-Ex, two thirds are BIMCV's."""

    name = "qata-cov19"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill ``root/QaTa-COV19``. Counts are version 2's."""
        census = Census((), ("infection",))
        num_known = max(config.num_patients // 3, _AT_LEAST)
        known = cast(COVID_LINE, num_known, has_covid, config)
        others = cast("bimcv", max(config.num_patients - num_known, _AT_LEAST), has_covid, config)
        place = 0
        for is_known, part in ((True, known), (False, others)):
            for number, file, film, mask in _films(part, config, is_known=is_known):
                chosen = "Test Set" if number % 4 == 3 else "Train Set"
                _save(root / "QaTa-COV19" / "QaTa-COV19-v2" / chosen, file, film, mask)
                has_old_mask = place % 3 > 0
                _save(root / "QaTa-COV19" / "QaTa-COV19-v1", file, film, mask if has_old_mask else None)
                patient = f"{chosen} {file}" if is_known else file.partition("_")[0]
                census.add(patient, split=_SPLITS[chosen], masks=("infection",))
                place += 1
        return census.counts()


TWIN = QataCov19Twin()


def _films(
    part: Cast, config: TwinConfig, *, is_known: bool
) -> Iterator[tuple[int, str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Place of the patient, file name, film and mask of every film of a part."""
    takes = [1 if is_known else 1 + place % 2 for place in range(len(part.ids))]
    rows = np.repeat(np.arange(len(takes)), takes)
    is_second = np.concatenate([[False], rows[1:] == rows[:-1]])
    film_ids = [part.ids[row] + ("-again" if again else "") for row, again in zip(rows, is_second, strict=True)]
    done = 0
    for chunk in filmed(part.physiology, film_ids, rows, config, "simulate qata-cov19"):
        for image, opacity, is_ap in zip(chunk.films.images, chunk.films.opacity, chunk.nuisance.is_ap, strict=True):
            row = int(rows[done])
            number, take = part.numbers[row], 1 + int(is_second[done])
            view = "ap" if is_ap else "pa"
            bimcv = f"sub-S{3000 + number:05d}_ses-E{2 * number + take:05d}_run-1_bp-chest_vp-{view}_dx.png"
            grey = np.where(opacity, np.uint8(255), np.uint8(0))
            film, mask = (stretched(picture, _SIDE_PX, _SIDE_PX) for picture in (image, grey))
            yield row, f"covid_{number}.png" if is_known else bimcv, film, mask
            done += 1


def _save(folder: Path, file: str, film: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> None:
    for place in ("Images", "Ground-truths"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    Image.fromarray(film).save(folder / "Images" / file, format="PNG", compress_level=2)
    if mask is not None:
        Image.fromarray(mask).save(folder / "Ground-truths" / f"mask_{file}", format="PNG", compress_level=2)
