"""The generated references are those of this version: `make reference` writes them."""
from support.reference import OPTIONS, REFERENCE, text_of_options, text_of_reference


def test_reference_is_what_the_catalog_says(world):
    assert REFERENCE.read_text(encoding="utf-8") == text_of_reference(world.database)


def test_options_are_those_of_the_relay():
    assert OPTIONS.read_text(encoding="utf-8") == text_of_options()
