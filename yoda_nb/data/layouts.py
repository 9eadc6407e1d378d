"""How public data sets lie in a folder: which file is whose, of which contrast, and how to get and cite it.

A layout is a row: patterns of paths with the groups ``subject`` and, where there are any, ``session`` (a visit)
and ``contrast``.  ``data.scan`` turns a folder of that shape into rows of a manifest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from yoda_nb.data.rows import MISSING, person_of
from yoda_nb.errors import InputError

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}  # of persons, as a hash of their names has it
CONTRASTS = {  # what contrasts are called elsewhere, in lower case -> here
    **dict.fromkeys(("t1", "t1w", "t1n", "mprage"), "T1w"),
    **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1post"), "T1ce"),
    **dict.fromkeys(("t2", "t2w"), "T2w"),
    **dict.fromkeys(("flair", "t2f"), "FLAIR"),
    **dict.fromkeys(("pd", "pdw"), "PDw"),
    **dict.fromkeys(("mra", "angio"), "MRA"),  # models know it as TOF: units.SAME
    **{"tof": "TOF", "ct": "CT", "cta": "CTA", "ctdef": "CTdef"},
    **{"mask": "mask", "seg": "lesions", "lesions": "lesions"},
}
IMAGE = r"\.nii(?:\.gz)?"
BESIDE = ("derivatives", "sourcedata", "code", "stimuli", "phenotype")  # folders of BIDS beside the raw data


class Found(NamedTuple):
    """What a path says of itself."""

    subject: str  # NAME or, where a path names a visit, NAME_ses-VISIT
    contrast: str
    notes: str


class Files(NamedTuple):
    """Files of one kind: a pattern of the whole path, and what it does not say itself."""

    pattern: str
    contrast: str | None = None  # where the path has no group ``contrast``
    prefix: str = ""  # of the subject's name
    notes: str = MISSING


@dataclass(frozen=True)
class Layout:
    """How the files of one data set are called, and what has to be said of them."""

    name: str
    licence: str
    obtain: str  # how to get it, in a sentence
    source: str  # whom to cite
    files: tuple[Files, ...]
    shape: str  # an example of a path
    dataset: str = ""  # in the manifest; by default the name
    pinned: Mapping[str, str] | None = None  # pattern of a person's name -> split, before the hash decides
    url: str | None = None  # of the published files: what comes before their paths
    explain: Callable[[str], str] | None = None  # path -> why it is none of the data set; "" for what need not be said

    def read(self, path: str) -> Found | None:
        """Whose and what the file at a path (with /, from the data set's folder) is; None if it is none of it."""
        for files in self.files:
            if parts := re.fullmatch(files.pattern, path, re.IGNORECASE):
                given = parts.groupdict()
                name = files.contrast or CONTRASTS.get(given["contrast"].lower(), given["contrast"])
                visit = f"_ses-{given['session']}" if given.get("session") else ""
                return Found(f"{files.prefix}{given['subject']}{visit}", name, files.notes)
        return None

    def unread(self, path: str) -> str:
        """Why ``read`` makes nothing of the path of an image, in words; "" where that goes without saying."""
        return self.explain(path) if self.explain else f"its name is none of the layout {self.name}"

    def split(self, subject: str) -> str:
        """train, val or test by a hash of the person's name: the same on every machine, whoever else is there."""
        person = person_of(subject)
        for pattern, split in (self.pinned or {}).items():
            if re.fullmatch(pattern, person):
                return split
        digits = hashlib.sha256(f"{self.dataset or self.name}/{person}".encode()).hexdigest()[:12]
        place = int(digits, 16) / 16**12
        for split, share in SHARES.items():
            if place < share:
                return split
            place -= share
        return "test"


def _anywhere(name: str) -> str:
    return rf"(?:.*/)?{name}{IMAGE}"


def _anat(entities: str, suffix: str) -> str:
    """A BIDS image: subject and visit of the folders again in the name, entities between."""
    folder = r"(?P<subject>sub-[A-Za-z0-9]+)/(?:ses-(?P<session>[A-Za-z0-9]+)/)?anat/"
    return rf"{folder}(?P=subject)(?:_ses-(?P=session))?{entities}_{suffix}{IMAGE}"


def _not_bids(path: str) -> str:
    """Why the path of an image is no anatomical image in BIDS."""
    *folders, name = PurePosixPath(path).parts
    subject = folders.pop(0) if folders else ""
    if subject in BESIDE:
        return ""
    if not folders or not subject.startswith("sub-"):
        return "lies in no folder sub-NAME"
    named = [part for part in (subject, *folders) if part.startswith(("sub-", "ses-"))]
    if bad := [part for part in named if not re.fullmatch(r"(?:sub|ses)-[A-Za-z0-9]+", part)]:
        return f"the label of {bad[0]} may hold only letters and digits in BIDS: rename folder and files"
    if folders[-1] != "anat":
        return "lies in no folder anat"
    if not name.startswith("_".join(named) + "_"):
        return f"its name does not begin with {'_'.join(named)}_, as its folder does"
    stem = re.sub(IMAGE + "$", "", name, flags=re.IGNORECASE)
    *pairs, suffix = stem.split("_")
    if bad := [pair for pair in pairs if not re.fullmatch(r"[a-z]+-[A-Za-z0-9+]+", pair)]:
        return f"{bad[0]} is not a BIDS entity such as acq-x with only letters and digits: rename it"
    return f"the contrast {suffix} is none that is read"


_OTHER = r"(?:_(?!ce-|ses-)[a-z]+-[A-Za-z0-9+]+)*"  # entities that do not change the contrast
_OWN_GRIDS = "as scanned: each contrast on a grid of its own"
_COMMIT = "65704901f60650824565aa5a4818611aa89716f4"
_LESJAK = "Lesjak et al., Neuroinformatics 2017 (cross-sectional) and 2016 (longitudinal), open_ms_data " + _COMMIT[:7]
_MS_NAMES = (("T1", "T1w"), ("T1POST", "T1ce"), ("T2", "T2w"), ("FLAIR", "FLAIR"), ("GOLD_STANDARD", "lesions"))

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "bids",
            "as its dataset_description.json says",
            "openneuro.org holds many; any folder that follows bids.neuroimaging.io will do",
            "the data set's own authors",
            (
                Files(_anat(rf"{_OTHER}_ce-[A-Za-z0-9]+{_OTHER}", "T1w"), "T1ce"),
                Files(_anat(_OTHER, "(?P<contrast>T1w|T2w|FLAIR|PDw|angio|ct)")),
                Files(_anat(rf"{_OTHER}_desc-brain", "mask"), "mask"),
                Files(_anat(rf"{_OTHER}_(?:label|desc)-lesions?", "mask"), "lesions"),
            ),
            "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
            explain=_not_bids,
        ),
        Layout(
            "ixi",
            "CC BY-SA 3.0",
            "download IXI-T1.tar, IXI-T2.tar, IXI-PD.tar and IXI-MRA.tar from brain-development.org/ixi-dataset",
            "IXI, brain-development.org (EPSRC GR/S21533/02)",
            (
                Files(
                    _anywhere(r"(?P<subject>IXI\d{3}-(?:Guys|HH|IOP)-\d+)-(?P<contrast>T1|T2|PD|MRA)"), notes=_OWN_GRIDS
                ),
            ),
            "IXI-T1/IXI002-Guys-0828-T1.nii.gz",
        ),
        Layout(
            "brats",
            "terms of the challenge: register, and cite its papers",
            "register at synapse.org and download the training data of one year; scan one year at a time",
            "BraTS challenge: Menze et al. 2015, Bakas et al. 2017, Baid et al. 2021",
            tuple(
                Files(
                    _anywhere(pattern), notes="skull-stripped, registered, 1 mm; lesions: numbered parts of the tumour"
                )
                for pattern in (
                    r"(?P<subject>BraTS-[A-Z]+(?:-[A-Z]+)*-\d+)-(?P<session>\d{3})-(?P<contrast>t1n|t1c|t2w|t2f|seg)",
                    r"(?P<subject>BraTS\d+_\w+?)_(?P<contrast>flair|t1ce|t1|t2|seg)",
                )
            ),
            "BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz, BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz",
        ),
        Layout(
            "gold-atlas",
            "none stated: access on request",
            "request access at zenodo.org/records/583096, convert each series with 'yoda-nb data dicom', "
            "name the files T1, T2, CT and (deformed to the MR images) CTdef",
            "Nyholm et al., Medical Physics 2018, doi:10.1002/mp.12748",
            (
                Files(
                    _anywhere(r"(?P<subject>[1-3]_\d\d_P)/(?P<contrast>T1|T2|CTdef|CT)"),
                    notes="male pelvis of three sites; CTdef is the CT deformed to the MR images",
                ),
            ),
            "1_04_P/CTdef.nii.gz",
        ),
        Layout(
            "synthrad",
            "CC BY-NC 4.0",
            "download Task1.zip from zenodo.org/records/7260705 and unpack it",
            "Thummerer et al., Medical Physics 2023, doi:10.1002/mp.16529",
            tuple(
                Files(_anywhere(rf"(?P<subject>1{part}[ABC]\d{{3}})/{name}"), contrast, notes=notes)
                for part, mr, notes in (
                    ("B", "T1w", "head, CT and MR registered; the mask is the head's"),
                    ("P", "MR", "pelvis, CT and MR (T1w or T2w) registered; the mask is the body's"),
                )
                for name, contrast in (("mr", mr), ("ct", "CT"), ("mask", "mask"))
            ),
            "Task1/brain/1BA001/ct.nii.gz",
        ),
        Layout(
            "topcow",
            "as stated at topcow24.grand-challenge.org: open use, name the source",
            "follow the data page of topcow24.grand-challenge.org and unpack the training data",
            "Yang et al., TopCoW challenge 2023 and 2024, arXiv 2312.17670",
            (
                Files(
                    _anywhere(r"topcow_mr_(?:whole_)?(?P<subject>\d{3})_0000"),
                    "MRA",
                    "topcow-",
                    f"time of flight, {_OWN_GRIDS}",
                ),
                Files(_anywhere(r"topcow_ct_(?:whole_)?(?P<subject>\d{3})_0000"), "CTA", "topcow-", _OWN_GRIDS),
            ),
            "imagesTr/topcow_ct_001_0000.nii.gz, of 2023 imagesTr/topcow_ct_whole_001_0000.nii.gz",
        ),
        Layout(
            "kirby21",
            "as stated at nitrc.org/projects/multimodal",
            "download from nitrc.org/projects/multimodal, or take inst/ of the R packages kirby21_scan_1 and _2",
            "Landman et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.11.047",
            tuple(
                Files(_anywhere(rf"{subject}-(?P<contrast>MPRAGE|T2w|FLAIR)"), notes=f"scan or rescan, {_OWN_GRIDS}")
                for subject in (r"(?P<subject>\d{3})(?:-(?P<session>0[12]))?", r"(?P<subject>KKI2009-\d\d)")
            ),
            "113/113-01-MPRAGE.nii.gz, KKI2009-01-MPRAGE.nii.gz",
            pinned={r"KKI2009-\d\d": "test"},  # these names do not say which two scans are one person
        ),
        Layout(
            "open-ms",
            "CC-BY",
            "git clone https://github.com/muschellij2/open_ms_data, or 'yoda-nb data fetch --dataset ms'",
            _LESJAK,
            (
                *(
                    Files(
                        rf"cross_sectional/MNI/patient(?P<subject>\d\d)/{name}_N4_.*_regtoMNI{IMAGE}",
                        contrast,
                        prefix="cross-",
                        notes="brain extracted, N4, registered to MNI at 1 mm",
                    )
                    for name, contrast in _MS_NAMES
                ),
                Files(
                    r"longitudinal/raw/patient(?P<subject>\d\d)/"
                    rf"study(?P<session>[12])_(?P<contrast>T1W|T2W|FLAIR){IMAGE}",
                    prefix="long-",
                    notes=_OWN_GRIDS,
                ),
            ),
            "cross_sectional/MNI/patient07/T1_N4_..._regtoMNI.nii.gz, longitudinal/raw/patient01/study1_T1W.nii.gz",
            dataset="ms",
            pinned={"cross-(07|26)": "train", "long-(01|03)": "train"},  # development may look at these
            url=f"https://raw.githubusercontent.com/muschellij2/open_ms_data/{_COMMIT}/",
        ),
        Layout(
            "nifti",
            MISSING,
            "any folder of NIfTI files: give --pattern, such as '{subject}/{contrast}.nii.gz', {session} for visits",
            "own files",
            (),
            "s01/T1w.nii.gz",
        ),
    )
}


def get_layout(name: str, pattern: str | None = None) -> Layout:
    """A layout by its name; ``pattern`` says how files are called in the layout ``nifti``, and only there.

    In a pattern ``*`` stands for anything but /.  Raises InputError for an unknown name, and for a pattern that
    lacks {subject} or {contrast}.
    """
    if name not in LAYOUTS:
        raise InputError(f"there is no layout {name!r}: choose among {', '.join(LAYOUTS)}.")
    if (name == "nifti") != (pattern is not None):
        raise InputError(
            "the layout 'nifti' needs --pattern, such as '{subject}/{contrast}.nii.gz'; no other takes one."
        )
    if pattern is None:
        return LAYOUTS[name]
    return replace(LAYOUTS[name], files=(Files(_from_braces(pattern)),), shape=pattern)


def _from_braces(pattern: str) -> str:
    """``{subject}/{contrast}.nii.gz`` as a regular expression of the whole path."""
    groups = re.findall(r"\{(\w+)\}", pattern)
    if not {"subject", "contrast"} <= set(groups) or set(groups) - {"subject", "contrast", "session"}:
        raise InputError(f"pattern {pattern!r} must hold {{subject}} and {{contrast}}, may hold {{session}}, no other.")
    made, seen = "", set()
    for part in re.split(r"(\{\w+\}|\*)", pattern):
        name = part.strip("{}")
        if part == "*":
            made += "[^/]*"
        elif part != name:
            made += f"(?P={name})" if name in seen else rf"(?P<{name}>\w[\w.-]*?)"
            seen.add(name)
        else:
            made += re.escape(part)
    return made
