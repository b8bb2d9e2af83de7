"""PDG codes to tokens, against dictionaries and the published lists."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from particle import Particle

from smartfilter.errors import UsageError
from smartfilter.pdg import VOCABULARIES, Vocabulary, load_vocabulary

INT32 = np.iinfo(np.int32)
CODES = st.integers(INT32.min, INT32.max)


def encode_one_by_one(words: Vocabulary, pdg: list[int]) -> list[int]:
    token = {code: position for position, code in enumerate(words.codes)}
    return [token.get(code, words.unknown) for code in pdg]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_encode_every_known_code_gives_its_position(name: str):
    words = load_vocabulary(name)
    tokens = words.encode(np.array(words.codes, dtype=np.int32))
    np.testing.assert_array_equal(tokens, np.arange(len(words.codes)))
    assert tokens.dtype == np.int32


@pytest.mark.parametrize("name", VOCABULARIES)
def test_encode_neighbours_of_known_codes_equal_dictionary(name: str):
    words = load_vocabulary(name)
    pdg: list[int] = [code + step for code in words.codes for step in (-1, 0, 1)]
    tokens = words.encode(np.array(pdg, dtype=np.int32))
    assert tokens.tolist() == encode_one_by_one(words, pdg)


@given(
    codes=st.lists(CODES, min_size=1, max_size=60, unique=True),
    extra=st.lists(CODES, max_size=20),
    unknown=st.integers(0, 60),
)
def test_encode_any_vocabulary_equals_dictionary(
    codes: list[int], extra: list[int], unknown: int
):
    words = Vocabulary(tuple(codes), min(unknown, len(codes)))
    pdg = [*extra, *codes, INT32.min, INT32.max, 0]
    tokens = words.encode(np.array(pdg, dtype=np.int32))
    assert tokens.tolist() == encode_one_by_one(words, pdg)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_encode_takes_any_integer_type(dtype: type):
    words = load_vocabulary("smart_background")
    pdg = [211, -211, 22, 987654]
    tokens = words.encode(np.array(pdg, dtype=dtype))
    assert tokens.tolist() == encode_one_by_one(words, pdg)


def test_encode_strided_and_shaped_input_keeps_its_shape():
    words = load_vocabulary("smart_background")
    pdg = np.array([[211, 22, -211], [111, 5, 300553]], dtype=np.int32)
    expected = np.array(encode_one_by_one(words, pdg.ravel().tolist())).reshape(2, 3)
    np.testing.assert_array_equal(words.encode(pdg), expected)
    np.testing.assert_array_equal(words.encode(pdg[:, ::2]), expected[:, ::2])


def test_encode_nothing_gives_nothing():
    tokens = load_vocabulary("published").encode(np.empty(0, dtype=np.int32))
    assert tokens.shape == (0,)
    assert tokens.dtype == np.int32


def test_encode_unknown_code_gives_the_token_for_unknown():
    unknown = np.array([999999, -999999, INT32.min, INT32.max], dtype=np.int32)
    assert load_vocabulary("smart_background").encode(unknown).tolist() == [0] * 4
    assert load_vocabulary("published").encode(unknown).tolist() == [540] * 4


def test_encode_code_of_one_word_vocabulary():
    words = Vocabulary((22,), unknown=1)
    assert words.encode(np.array([22, 0, 23, -22])).tolist() == [0, 1, 1, 1]


def test_n_tokens_counts_a_row_for_unknown_codes_where_it_has_one():
    assert load_vocabulary("smart_background").n_tokens == 562
    assert load_vocabulary("published").n_tokens == 541
    assert Vocabulary((1, 2, 3), unknown=1).n_tokens == 3
    assert Vocabulary((1, 2, 3), unknown=3).n_tokens == 4


@pytest.mark.parametrize("name", VOCABULARIES)
def test_load_vocabulary_holds_each_code_once(name: str):
    words = load_vocabulary(name)
    assert len(set(words.codes)) == len(words.codes) == VOCABULARIES[name][0]
    assert all(type(code) is int for code in words.codes)
    assert words.codes[0] == 0


def test_smart_background_is_ordered_by_size_with_antiparticles_first():
    """The order that basf2's SmartBackgroundModule documents."""
    codes = load_vocabulary("smart_background").codes
    assert list(codes) == sorted(codes, key=lambda code: (abs(code), code))
    assert codes[-1] == 1000020040


@pytest.mark.parametrize("name", VOCABULARIES)
def test_load_vocabulary_knows_what_upsilon_events_hold(name: str):
    common = {300553, 511, -511, 521, -521, 11, -13, 15, 22, 111, 211, 310, 321, 2212}
    assert common <= set(load_vocabulary(name).codes)


def test_smart_background_codes_agree_with_the_particle_data_group():
    """Independent of our list: common names of the `particle` package."""
    codes = set(load_vocabulary("smart_background").codes)
    names = ("pi+", "K+", "K(L)0", "D(s)+", "Lambda(c)+", "J/psi(1S)", "tau-", "mu+")
    for name in names:
        (found,) = Particle.findall(name=name)
        assert int(found.pdgid) in codes
        assert int(found.invert().pdgid) in codes


def test_published_lists_equal_the_shared_ones(shared_data):
    for name, (size, _) in VOCABULARIES.items():
        file = shared_data / f"pdg-tokens-{size}.json"
        assert list(load_vocabulary(name).codes) == json.loads(file.read_text())


def test_load_vocabulary_unknown_name_is_refused():
    with pytest.raises(UsageError, match="expected one of smart_background, published"):
        load_vocabulary("belle")
