"""Whose each sample of a signal is: the column of patients, or a user's word that nobody knows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pacx.core.tables.column_roles import Role, Roles, column_roles

_PATIENT_COLUMN = "--patient-column"


@dataclass(frozen=True, kw_only=True)
class Patients:
    """Which column of a table says whose a row is."""

    patient_column: str | None = None
    """The column of patients, where it is not known by its name."""

    no_patients: bool = False
    """Nobody knows the patients: every sample counts as a person of its own."""

    def roles(
        self, names: Sequence[str], wanted: Sequence[Role], *, place: str, used: Sequence[str], usual: str | None = None
    ) -> Roles:
        """The columns of a table that have a role.

        Args:
            names: the columns.
            wanted: the roles asked for.
            place: of the table, for messages.
            used: columns that are used for something else.
            usual: what the column of patients is called in tables of this kind.

        Raises:
            UsageError: a column looks as if it named patients, and nobody says whether it does.
        """
        return column_roles(
            names,
            wanted,
            place=place,
            named={Role.PATIENT: self.patient_column or (usual if usual in names and not self.no_patients else None)},
            options={Role.PATIENT: _PATIENT_COLUMN},
            used=used,
            no_patients=self.no_patients,
        )


ANYBODY = Patients()
"""Whoever the columns name."""
