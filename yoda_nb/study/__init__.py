"""What the notebooks share: profiles, subjects, and images that the bank remembers."""

from yoda_nb.study.checks import check
from yoda_nb.study.exercises import check_exercise
from yoda_nb.study.sampling import all_samplers, check_answer, progress_bar, samples
from yoda_nb.study.subjects import PROFILES, Profile, get_profile, load_subjects

__all__ = [
    "PROFILES",
    "Profile",
    "all_samplers",
    "check",
    "check_answer",
    "check_exercise",
    "get_profile",
    "load_subjects",
    "progress_bar",
    "samples",
]
