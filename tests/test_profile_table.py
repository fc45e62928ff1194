"""docs/papers.md holds what the configs say."""

from pathlib import Path

from scripts.profile_table import table

PAGE = Path(__file__).parents[1] / "docs" / "papers.md"


def test_the_pages_table_of_profiles_is_the_one_made_from_the_configs():
    assert table() in PAGE.read_text()
