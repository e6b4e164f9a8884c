"""What must not, and what must, stand in the files of this repository."""

import re

from tests.house.source import ROOT, files, shown

# Where working copies and home directories of single machines lie.
MACHINE_PATH = re.compile(rb"(?<![\w.])/(?:work|root)/")


def test_no_file_names_a_path_of_one_machine() -> None:
    """Nothing here depends on where somebody keeps a checkout."""
    named = [
        shown(path, number)
        for path in files()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]

    assert named == []


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    """The changelog starts with what is not released yet, in the order of Keep a Changelog."""
    headings = re.findall(r"^#+ .*$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[:2] == ["# Changelog", "## [Unreleased]"], headings[:2]
    kinds = ["### Breaking", "### Added", "### Changed", "### Fixed", "### Removed"]
    assert [h for h in headings if h.startswith("### ") and h not in kinds] == []
