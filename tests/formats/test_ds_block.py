"""`espcert_formats.ds_block`: the decrypted parameters of a DS key, against those of ESP-IDF."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.ds_vectors import VECTORS, Parameters, Vector, decrypted, parameters
from tests.support import FIXTURES, real_image

from espcert_formats import ds_block
from espcert_formats.errors import FormatError

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.source)
LENGTHS = (1200, 1584)


def plaintext_of(vector: Vector) -> bytes:
    return decrypted(vector.key, vector.iv, vector.ciphertext)


@each_vector
def test_the_vectors_are_what_their_source_says(vector: Vector) -> None:
    assert vector.parameters.plaintext(vector.iv) == plaintext_of(vector)
    size = vector.parameters.size
    assert parameters(size, vector.parameters.m, vector.parameters.y) == vector.parameters


@each_vector
def test_a_block_is_taken_apart(vector: Vector) -> None:
    block = ds_block.read(plaintext_of(vector))
    expected = vector.parameters
    assert (block.private_exponent, block.modulus) == (expected.y, expected.m)
    assert (block.r_squared, block.m_prime, block.length) == (expected.rb, expected.m_prime, 31)
    assert (block.beta, block.max_bits) == (b"\x08" * 8, 8 * expected.size)
    assert block.numbers + block.digest == plaintext_of(vector)[:-16]


@each_vector
def test_what_is_expected_of_a_block_is_what_esp_idf_made(vector: Vector) -> None:
    block = ds_block.read(plaintext_of(vector))
    assert ds_block.expected_digest(block, vector.iv) == block.digest
    assert ds_block.expected_r_squared(block.modulus) == block.r_squared
    assert ds_block.expected_m_prime(block.modulus) == block.m_prime
    assert ds_block.expected_length(block.modulus) == block.length


@each_vector
@pytest.mark.parametrize("part", ["y", "m", "rb", "m_prime", "length"])
def test_the_digest_covers_every_number(vector: Vector, part: str) -> None:
    known = vector.parameters
    changed = known._replace(**{part: getattr(known, part) ^ 1})
    before, after = (ds_block.read(one.plaintext(vector.iv)) for one in (known, changed))
    digests = (ds_block.expected_digest(one, vector.iv) for one in (before, after))
    assert len(set(digests)) == 2


@each_vector
def test_the_digest_covers_the_iv_and_not_the_padding(vector: Vector) -> None:
    block = ds_block.read(plaintext_of(vector))
    assert ds_block.expected_digest(block, bytes(16)) != block.digest
    other = dataclasses.replace(block, beta=bytes(8))
    assert ds_block.expected_digest(other, vector.iv) == block.digest


@pytest.mark.parametrize(
    ("name", "at", "length"),
    [
        ("tlv_rsa_ds_c3", 16, 1200),
        ("cust_flash_rsa_ds_c3", 6208, 1200),
        ("cust_flash_legacy_rsa_ds_s2", 6208, 1584),
    ],
)
def test_real_images_hold_what_is_expected(name: str, at: int, length: int) -> None:
    data = real_image(f"{name}/partition.bin")
    if name.startswith("tlv"):
        iv, ciphertext = data[at : at + 16], data[at + 16 : at + 16 + length]
    else:
        iv_at = at + length + 16
        iv, ciphertext = data[iv_at : iv_at + 16], data[at : at + length]
    key = real_image(f"{name}/hmac_key.bin")
    block = ds_block.read(decrypted(key, iv, ciphertext))
    assert ds_block.expected_digest(block, iv) == block.digest
    assert ds_block.expected_r_squared(block.modulus) == block.r_squared
    assert ds_block.expected_m_prime(block.modulus) == block.m_prime
    assert ds_block.expected_length(block.modulus) == block.length
    assert block.beta == ds_block.BETA


def test_a_fixture_holds_what_is_expected() -> None:
    data = (FIXTURES / "images" / "tlv_ds_s2.bin").read_bytes()
    key = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes()
    block = ds_block.read(decrypted(key, data[16:32], data[32 : 32 + 1584]))
    assert ds_block.expected_digest(block, data[16:32]) == block.digest
    assert block.modulus.bit_length() == block.max_bits == 4096


@given(st.binary(max_size=2000))
@example(bytes(1199))
@example(bytes(1201))
@example(bytes(1583))
@example(bytes(1585))
def test_other_lengths_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        ds_block.read(data)
    assert caught.value.found == f"{len(data)} bytes"
    assert "1200 or 1584" in caught.value.expected


@given(st.sampled_from(LENGTHS).flatmap(lambda n: st.binary(min_size=n, max_size=n)))
@example(bytes(1200))
@example(b"\xff" * 1584)
def test_any_bytes_of_the_right_length_are_read(data: bytes) -> None:
    """What is written again from the fields is what was read, whatever it is."""
    block = ds_block.read(data)
    again = Parameters(
        len(block.numbers) // 3,
        block.private_exponent,
        block.modulus,
        block.r_squared,
        block.m_prime,
        block.length,
        block.beta,
        block.digest,
    )
    assert again.plaintext(b"") == data
    assert len(ds_block.expected_digest(block, bytes(16))) == 32
    inverse = ds_block.expected_m_prime(block.modulus)
    assert (inverse is None) == (block.modulus % 2 == 0)
    assert inverse is None or (inverse * block.modulus + 1) % 2**32 == 0


@pytest.mark.parametrize("modulus", [0, 1, 2, 2**32, 2**4096 - 1])
def test_hostile_moduli_have_an_answer(modulus: int) -> None:
    r_squared = ds_block.expected_r_squared(modulus)
    assert (r_squared is None) == (modulus == 0)
    assert r_squared is None or 0 <= r_squared < modulus
    assert (ds_block.expected_m_prime(modulus) is None) == (modulus % 2 == 0)
    assert ds_block.expected_length(modulus) == (modulus.bit_length() + 31) // 32 - 1


def test_a_modulus_that_fills_no_whole_word_takes_the_next() -> None:
    """The peripheral multiplies whole words: R is 2^2048 for 2047 bits, too."""
    modulus = 2**2046 + 1
    assert ds_block.expected_length(modulus) == 63
    assert ds_block.expected_r_squared(modulus) == pow(2**2048, 2, modulus)


@each_vector
def test_a_block_shows_nothing_of_itself(vector: Vector) -> None:
    block = ds_block.read(plaintext_of(vector))
    assert repr(block) == str(block) == "DsBlock()"
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.modulus = 0  # type: ignore[misc]


# --- Writing -----------------------------------------------------------------------------------


@each_vector
def test_what_is_written_is_what_esp_idf_made(vector: Vector) -> None:
    known = vector.parameters
    written = ds_block.write(known.m, known.y, vector.iv, 8 * known.size)
    assert written == known.plaintext(vector.iv) == plaintext_of(vector)


@given(
    st.sampled_from((3072, 4096)),
    st.integers(2, 127).map(lambda words: 32 * words),
    st.integers(1, 2**4096),
    st.binary(min_size=16, max_size=16),
)
def test_what_is_written_is_read_again(max_bits: int, bits: int, seed: int, iv: bytes) -> None:
    modulus = seed % 2 ** (bits - 1) | 2 ** (bits - 1) | 1
    exponent = seed % (modulus - 1) + 1
    if bits > max_bits:
        with pytest.raises(FormatError):
            ds_block.write(modulus, exponent, iv, max_bits)
        return
    block = ds_block.read(ds_block.write(modulus, exponent, iv, max_bits))
    assert (block.modulus, block.private_exponent, block.max_bits) == (modulus, exponent, max_bits)
    assert block.digest == ds_block.expected_digest(block, iv)
    known = parameters(max_bits // 8, modulus, exponent)
    assert (block.r_squared, block.m_prime, block.length) == known[3:6]
    assert block.beta == ds_block.BETA


@pytest.mark.parametrize(
    ("modulus", "exponent", "max_bits", "expected"),
    [
        (2**3071 + 2, 3, 3072, "an odd modulus"),
        (2**3072 + 1, 3, 3072, "of at most 3072 bits"),
        (0, 3, 3072, "an odd modulus"),
        (2**2047 + 1, 0, 3072, "a private exponent"),
        (2**2047 + 1, 2**2047 + 1, 3072, "a private exponent"),
        (2**2047 + 1, -1, 4096, "a private exponent"),
        (2**2047 + 1, 3, 2048, "3072 or 4096"),
    ],
)
def test_what_no_peripheral_takes_is_not_written(
    modulus: int, exponent: int, max_bits: int, expected: str
) -> None:
    with pytest.raises(FormatError, match=expected) as caught:
        ds_block.write(modulus, exponent, bytes(16), max_bits)
    assert str(2**2047 + 1) not in str(caught.value)
