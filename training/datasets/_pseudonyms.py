"""Names that tell groups apart and do not say whose they are: HMAC-SHA256 with a secret salt.

Without the salt a name cannot be told back, nor tried out against a list of patients. Whoever has
the salt can find a known patient, so it is kept beside the key of the pseudonyms, and neither in a
dataset nor in a recipe, a run or a bundle. It is never made on the way: a salt nobody knows of is
lost, and with it the names of the groups in every split that was written.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from qc.errors import UsageError

SALT_VARIABLE = "QC_SALT"
"""Environment variable that holds the salt where no file does."""

_LEAST_BYTES, _MOST_BYTES = 16, 1 << 16
_MAKE_ONE = 'make one with python -c "import secrets; print(secrets.token_hex(32))" > salt.txt'


def read_salt(root: Path, group: str, salt_file: str | None) -> bytes:
    """The secret of the hashes, from a file or from QC_SALT.

    Args:
        root: the dataset, which must not hold the file.
        group: what is grouped by, for the error.
        salt_file: the file, or None.

    Raises:
        UsageError: none, two, one that is too short, or one that lies in the dataset.
    """
    said = os.environ.get(SALT_VARIABLE, "").encode(errors="surrogateescape")
    if salt_file is None and not said:
        raise UsageError(
            f"grouping by {group} needs a secret salt: {_MAKE_ONE}, and keep it",
            where=root,
            expected=f"--option salt_file=salt.txt or {SALT_VARIABLE}; or --option group=file",
            found="neither",
        )
    if salt_file is not None and said:
        expected = f"salt_file or {SALT_VARIABLE}"
        raise UsageError("there are two salts", where=root, expected=expected, found="both")
    if salt_file is not None:
        file = Path(salt_file).expanduser()
        if file.resolve().is_relative_to(root.resolve()):
            what = "the salt lies in the dataset and would be handed on with it"
            raise UsageError(what, where=file, expected="a file outside of the dataset")
        try:
            with file.open("rb") as stream:
                said = stream.read(_MOST_BYTES)
        except OSError as error:
            raise UsageError(f"the salt cannot be read ({error.strerror})", where=file) from error
    salt = said.strip()
    if len(salt) < _LEAST_BYTES:
        raise UsageError(
            f"the salt is too short: {_MAKE_ONE}",
            where=salt_file or SALT_VARIABLE,
            expected=f"at least {_LEAST_BYTES} bytes",
            found=len(salt),
        )
    return salt


def pseudonym(salt: bytes, kind: str, value: str) -> str:
    """`KIND-` and 16 hexadecimal digits, the same for the same value and salt."""
    digest = hmac.new(salt, f"{kind}\0{value}".encode(errors="surrogateescape"), hashlib.sha256)
    return f"{kind}-{digest.hexdigest()[:16]}"
