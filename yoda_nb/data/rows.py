"""The rows of ``data_manifest.csv``, every cell checked without touching what it points to."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from yoda_nb.data import checksums
from yoda_nb.errors import InputError

COLUMNS = ("dataset", "subject", "split", "contrast", "uri", "sha256", "licence", "source", "notes")
MISSING = "n/a"
TRUST = "pass --trust-paths if you trust this manifest"


class PhantomOptions(BaseModel):
    """The query of a ``phantom:`` uri; a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sigma: float | None = Field(None, ge=0, le=1)
    protocol: str | None = None
    lesions: bool | None = None
    spacing: float | None = Field(None, ge=0.5, le=10)  # mm
    anatomy: str | None = None  # subject of a row with contrast ``labels``


class Row(BaseModel):
    """One row, every cell checked without touching the disk."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)
    dataset: str
    subject: str
    split: Literal["train", "val", "test", "n/a"]
    contrast: str
    uri: str
    sha256: str
    licence: str
    source: str
    notes: str

    @field_validator("*", mode="before")
    @classmethod
    def _plain_text(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(f"is empty: write {MISSING}")
        if value.strip()[0] in "=+-@":
            raise ValueError(f"{value!r} starts like a spreadsheet formula")
        if any(unicodedata.category(letter).startswith("C") for letter in value):
            raise ValueError(f"{value!r} holds a control or invisible character")
        return unicodedata.normalize("NFC", value)  # two spellings of one name are one subject

    @field_validator("dataset", "subject", "contrast")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"\w[\w.-]*", value):
            raise ValueError(f"{value!r} may hold only letters (of any script), digits, _ . and -")
        return value

    @field_validator("sha256")
    @classmethod
    def _checksum(cls, value: str) -> str:
        return value if value == MISSING else checksums.normal(value)

    @model_validator(mode="after")
    def _whole_row(self, info: ValidationInfo) -> Row:
        kind = scheme(self.uri)
        if (kind == "phantom") != (self.contrast == "any"):
            raise ValueError("contrast 'any' belongs to phantom: rows, and only to them")
        if kind == "phantom":
            phantom_uri(self.uri)
        elif kind == "https":
            _check_url(self.uri)
            if self.sha256 == MISSING:
                raise ValueError("an https uri needs its sha256")
        elif kind:
            raise ValueError(f"uri scheme {kind}: is not phantom:, https: or a relative path")
        else:
            _check_path(self.uri, trusted=bool(info.context and info.context.get("trust_paths")))
        return self

    @property
    def person(self) -> str:
        """Whose volume it is: the subject without ``_ses-NAME``."""
        return person_of(self.subject)


def person_of(subject: str) -> str:
    """The person that a subject is: its name up to ``_ses-``, which begins the name of a visit."""
    return subject.partition("_ses-")[0]


def check_row(cells: Mapping[str, str], *, trust_paths: bool = False) -> Row:
    """One row from its cells; ValueError in words.  With ``trust_paths`` a path may lead anywhere."""
    try:
        return Row.model_validate(dict(cells), context={"trust_paths": trust_paths})
    except ValidationError as error:
        raise ValueError(_first(error)) from error


def read_rows(path: Path, *, trust_paths: bool = False) -> Iterator[tuple[int, Row]]:
    """(line of the file, checked row); plain csv, because pandas forgets the lines."""
    if not path.is_file():
        raise InputError(f"{path} is not a file: name a data_manifest.csv.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(table, [])]
            if sorted(header) != sorted(COLUMNS):
                raise InputError(
                    f"{path} line 1: the columns must be {', '.join(COLUMNS)}; found {', '.join(header) or 'none'}."
                )
            for cells in table:
                if not cells:
                    continue
                where = f"{path} line {table.line_num}"
                if len(cells) != len(header):
                    raise InputError(f"{where}: {len(cells)} cells for {len(header)} columns: quote commas.")
                try:
                    row = check_row(dict(zip(header, cells, strict=True)), trust_paths=trust_paths)
                except ValueError as error:
                    raise InputError(f"{where}: {error}.") from error
                yield table.line_num, row
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path} is not a UTF-8 CSV file ({error}): save it again.") from error


def phantom_uri(uri: str) -> tuple[int, PhantomOptions]:
    """``phantom:SEED?key=value&...`` -> (seed, options); ValueError for anything else."""
    parts = re.fullmatch(r"phantom:([0-9]{1,18})(?:\?(.+))?", uri)
    if not parts:
        raise ValueError(f"{uri!r} is not of the form phantom:SEED?key=value")
    pairs = parse_qsl(parts[2] or "", keep_blank_values=True, strict_parsing=bool(parts[2]))
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"{uri!r} gives a key twice")
    try:
        return int(parts[1]), PhantomOptions(**dict(pairs))
    except ValidationError as error:
        raise ValueError(f"{uri!r}: {_first(error)}") from error


def scheme(uri: str) -> str:
    """The scheme of a uri in lower case, '' for a path (a Windows drive letter is a scheme)."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    return found[1].lower() if found else ""


def _check_url(uri: str) -> None:
    parts = urlsplit(uri)
    name = parts.path.rpartition("/")[2]
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"uri {uri!r} needs a host and no user name")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"uri {uri!r} must end in a plain file name")


def _check_path(uri: str, *, trusted: bool) -> None:
    if uri == MISSING or "\\" in uri or uri.startswith("~"):
        raise ValueError(f"uri {uri!r} is not a path written out with /")
    if not trusted and (uri.startswith("/") or ".." in uri.split("/")):
        raise ValueError(f"uri {uri!r} is not below the data folder: move the file there, or {TRUST}")


def _first(error: ValidationError) -> str:
    """The first complaint of pydantic as words: the cell, then what is wrong."""
    detail = error.errors()[0]
    cell = ".".join(str(part) for part in detail["loc"])
    return f"{cell} {detail['msg'].removeprefix('Value error, ')}".strip()
