"""cust_flash of both orders, with and without DS: images built here from the layout's facts."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import crc, known_images

from espcert_formats import cust_flash
from espcert_formats import items as kinds
from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, Span

MAGIC = 0x12345678
SIZE = 0x6000
DEVICE, CA, KEY = 64, 2112, 6208
IV = {1200: KEY + 1216, 1584: KEY + 1600}


@dataclass(frozen=True)
class Ds:
    """DS material; `stride` is that of the chip, whatever the ciphertext's length."""

    ciphertext: bytes
    iv: bytes = bytes(range(16))
    bits: int = 2048
    key_id: int = 1
    stride: int = 1216


@dataclass(frozen=True)
class Image:
    """What goes into a partition."""

    device: bytes = b"the device certificate\0"
    ca: bytes | None = b"the CA certificate\0"
    key: bytes | Ds = b"the private key\0"
    swapped: bool = False

    def metadata(self) -> bytes:
        pairs = [pair(self.device), pair(self.ca)]
        if self.swapped:
            pairs.reverse()
        if isinstance(self.key, bytes):
            body = b"".join([*pairs, pair(self.key), struct.pack("<I", MAGIC)])
        else:
            ds = self.key
            iv = struct.pack("<IHHB3x", crc(ds.iv), len(ds.iv), ds.bits, ds.key_id)
            body = b"".join([*pairs, pair(ds.ciphertext), iv, struct.pack("<I", MAGIC)])
        return body.ljust(64, b"\0")

    def build(self) -> bytes:
        """Without a CA certificate the writer inserts one byte in its place, then the key."""
        out = bytearray(b"\xff" * SIZE)
        if self.ca is None:
            out[CA:CA] = b"\0"
        for offset, data in self.areas().items():
            out[offset : offset + len(data)] = data
        return bytes(out)

    def areas(self) -> dict[int, bytes]:
        areas = {0: self.metadata(), DEVICE: self.device, CA: self.ca or b""}
        if isinstance(self.key, bytes):
            return {**areas, KEY: self.key}
        return {**areas, KEY: self.key.ciphertext, KEY + self.key.stride: self.key.iv}


def pair(data: bytes | None) -> bytes:
    """CRC and length of an item, two bytes of padding; 0/0 where there is none."""
    return bytes(8) if data is None else struct.pack("<IHxx", crc(data), len(data))


C3 = Ds(b"\xc3" * 1200)
S2 = Ds(b"\x52" * 1584, bits=4096, key_id=4, stride=1600)
KEYS: list[bytes | Ds] = [b"the private key\0", C3, S2]
KEY_NAMES = ["no-ds", "c3", "s2"]


def items_of(contents: Contents) -> dict[str, bytes]:
    assert len({item.kind for item in contents.items}) == len(contents.items)
    return {item.kind: item.data for item in contents.items}


def expected(image: Image) -> dict[str, bytes]:
    found = {kinds.DEVICE_CERT: image.device}
    if image.ca is not None:
        found[kinds.CA_CERT] = image.ca
    if isinstance(image.key, bytes):
        return {**found, kinds.PRIVATE_KEY: image.key}
    ds = image.key
    context = bytes(4) + bytes((ds.key_id, 0)) + struct.pack("<H", ds.bits)
    return {
        **found,
        kinds.DS_CIPHERTEXT: ds.ciphertext,
        kinds.DS_IV: ds.iv,
        kinds.DS_CONTEXT: context,
    }


def codes(contents: Contents) -> list[tuple[str, str | None]]:
    return [(anomaly.code, anomaly.kind) for anomaly in contents.anomalies]


def intact(contents: Contents) -> dict[str, bool | None]:
    return {item.kind: item.intact for item in contents.items}


def change(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


# --- All variants ------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True], ids=["direct", "swapped"])
@pytest.mark.parametrize("key", KEYS, ids=KEY_NAMES)
@pytest.mark.parametrize("ca", [b"the CA certificate\0", None], ids=["ca", "no-ca"])
def test_every_variant(key: bytes | Ds, ca: bytes | None, swapped: bool) -> None:
    image = Image(ca=ca, key=key, swapped=swapped)
    contents = cust_flash.read(image.build())
    assert items_of(contents) == expected(image)
    assert contents.layout == ("cust_flash_legacy" if swapped else "cust_flash")
    assert contents.label == ("pre_prov" if swapped else "esp_secure_cert")
    assert contents.anomalies == ()
    assert contents.revision == "1.x"
    assert not contents.current


def test_offsets_and_spans() -> None:
    found = {item.kind: item.spans for item in cust_flash.read(Image().build()).items}
    assert found == {
        kinds.DEVICE_CERT: (Span(64, 23),),
        kinds.CA_CERT: (Span(2112, 19),),
        kinds.PRIVATE_KEY: (Span(6208, 16),),
    }


@pytest.mark.parametrize("key", [C3, S2], ids=["c3", "s2"])
def test_ds_offsets(key: Ds) -> None:
    contents = cust_flash.read(Image(key=key).build())
    found = {item.kind: item.spans[0] for item in contents.items}
    assert found[kinds.DS_CIPHERTEXT] == Span(6208, len(key.ciphertext))
    assert found[kinds.DS_IV] == Span(IV[len(key.ciphertext)], 16)
    assert found[kinds.DS_CONTEXT].offset == 28
    (context,) = contents.of_kind(kinds.DS_CONTEXT)
    assert (context.rsa_bits, context.efuse_key_id) == (key.bits, key.key_id)
    assert context.intact is None


def test_protection_is_plaintext() -> None:
    (key,) = cust_flash.read(Image().build()).of_kind(kinds.PRIVATE_KEY)
    assert key.protection == kinds.PLAINTEXT


@pytest.mark.parametrize("swapped", [False, True])
def test_no_ca_is_24577_bytes(swapped: bool) -> None:
    data = Image(ca=None, swapped=swapped).build()
    assert len(data) == 24577
    assert data[8 * (not swapped) : 8 * (not swapped) + 8] == bytes(8)


# --- Which order -------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [None, "esp_secure_cert", "pre_prov", "other"])
@pytest.mark.parametrize("swapped", [False, True])
def test_crcs_decide_whatever_the_label(swapped: bool, label: str | None) -> None:
    contents = cust_flash.read(Image(swapped=swapped).build(), label)
    assert contents.layout == ("cust_flash_legacy" if swapped else "cust_flash")
    assert items_of(contents) == expected(Image())
    places = ("second", "first") if swapped else ("first", "second")
    assert contents.evidence[1:] == (
        f"device certificate CRC matches the {places[0]} pair",
        f"CA certificate CRC matches the {places[1]} pair",
    )


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("spoilt", [DEVICE, CA])
def test_one_matching_crc_decides(swapped: bool, spoilt: int) -> None:
    data = change(Image(swapped=swapped).build(), spoilt, b"?")
    contents = cust_flash.read(data, "pre_prov" if not swapped else "esp_secure_cert")
    assert contents.layout == ("cust_flash_legacy" if swapped else "cust_flash")
    kind = kinds.DEVICE_CERT if spoilt == DEVICE else kinds.CA_CERT
    assert codes(contents) == [(kinds.ITEM_CRC, kind)]
    assert [kind for kind, whole in intact(contents).items() if not whole] == [kind]


UNDECIDED = [
    (None, "cust_flash", "pair order undecided"),
    ("other", "cust_flash", "pair order undecided"),
    ("pre_prov", "cust_flash_legacy", "pair order decided by the label pre_prov"),
    ("esp_secure_cert", "cust_flash", "pair order decided by the label esp_secure_cert"),
]


@pytest.mark.parametrize(("label", "layout", "evidence"), UNDECIDED)
def test_same_certificate_twice(label: str | None, layout: str, evidence: str) -> None:
    """Both pairs are equal, so that both orders fit: the label decides."""
    image = Image(device=b"one\0", ca=b"one\0")
    contents = cust_flash.read(image.build(), label)
    assert (contents.layout, contents.evidence[1:]) == (layout, (evidence,))
    assert items_of(contents) == expected(image)
    assert contents.anomalies == ()


@pytest.mark.parametrize(("label", "layout", "evidence"), UNDECIDED)
def test_neither_order_fits(label: str | None, layout: str, evidence: str) -> None:
    """Both certificates are damaged: the label decides, and neither is intact."""
    data = change(change(Image().build(), DEVICE, b"?"), CA, b"?")
    contents = cust_flash.read(data, label)
    assert (contents.layout, contents.evidence[1:]) == (layout, (evidence,))
    assert intact(contents) == {
        kinds.DEVICE_CERT: False,
        kinds.CA_CERT: False,
        kinds.PRIVATE_KEY: True,
    }


def test_recognition_agrees_with_reading() -> None:
    for swapped in (False, True):
        data = Image(swapped=swapped).build()
        evidence = cust_flash.recognise(data)
        contents = cust_flash.read(data)
        assert evidence is not None
        assert (evidence.layout, evidence.label) == (contents.layout, contents.label)
        assert evidence.reasons == contents.evidence


# --- Magics ------------------------------------------------------------------------------------


def test_no_magic() -> None:
    data = change(Image().build(), 24, b"\0")
    assert cust_flash.recognise(data) is None
    with pytest.raises(FormatError, match="78 56 34 12") as caught:
        cust_flash.read(data)
    assert (caught.value.layout, caught.value.offset) == ("cust_flash", 24)


@pytest.mark.parametrize("data", [b"", bytes(24), b"\xff" * SIZE, bytes(SIZE)])
def test_nothing_there(data: bytes) -> None:
    assert cust_flash.recognise(data) is None
    with pytest.raises(FormatError):
        cust_flash.read(data)


def test_the_magic_at_24_wins_over_a_stray_one_at_36() -> None:
    data = change(Image().build(), 36, struct.pack("<I", MAGIC))
    assert items_of(cust_flash.read(data)) == expected(Image())


def test_an_iv_whose_crc_is_the_magic() -> None:
    """With DS the word at 24 is the IV's CRC; one IV in 2^32 makes it look like the magic."""
    iv = iv_with_crc(MAGIC)
    assert crc(iv) == MAGIC
    image = Image(key=replace(C3, iv=iv))
    assert items_of(cust_flash.read(image.build())) == expected(image)


def iv_with_crc(wanted: int) -> bytes:
    """Sixteen bytes with that CRC: the last four are solved for, bit by bit."""
    start = bytes(range(12))
    base = crc(start + bytes(4))
    columns = [crc(start + (1 << bit).to_bytes(4, "little")) ^ base for bit in range(32)]
    rows = list(zip(columns, (1 << bit for bit in range(32)), strict=True))
    target, tail = base ^ wanted, 0
    for bit in reversed(range(32)):
        at = next((n for n, (value, _) in enumerate(rows) if value >> bit & 1), None)
        if at is None:
            continue
        value, mask = rows.pop(at)
        rows = [(v ^ value, m ^ mask) if v >> bit & 1 else (v, m) for v, m in rows]
        if target >> bit & 1:
            target, tail = target ^ value, tail ^ mask
    return start + tail.to_bytes(4, "little")


# --- Damage ------------------------------------------------------------------------------------


def test_damaged_key() -> None:
    contents = cust_flash.read(change(Image().build(), KEY, b"?"))
    assert codes(contents) == [(kinds.ITEM_CRC, kinds.PRIVATE_KEY)]
    assert intact(contents)[kinds.PRIVATE_KEY] is False


@pytest.mark.parametrize("key", [C3, S2], ids=["c3", "s2"])
@pytest.mark.parametrize("kind", [kinds.DS_CIPHERTEXT, kinds.DS_IV])
def test_damaged_ds_material(key: Ds, kind: str) -> None:
    at = KEY if kind == kinds.DS_CIPHERTEXT else IV[len(key.ciphertext)]
    contents = cust_flash.read(change(Image(key=key).build(), at, b"?"))
    assert codes(contents) == [(kinds.ITEM_CRC, kind)]
    assert [name for name, whole in intact(contents).items() if whole is False] == [kind]


@pytest.mark.parametrize("stride", [1216, 1600])
@pytest.mark.parametrize("length", [100, 1000, 1200])
def test_the_ivs_crc_finds_its_stride(length: int, stride: int) -> None:
    image = Image(key=Ds(b"\x01" * length, stride=stride))
    contents = cust_flash.read(image.build())
    assert items_of(contents) == expected(image)
    assert contents.anomalies == ()


def test_lengths_over_the_capacity() -> None:
    """Neither the writer nor the firmware bounds an item by its area: it runs into the next."""
    data = Image(device=b"d" * 2048, ca=b"c" * 4096, key=b"k" * 4096).build()
    assert cust_flash.read(data).anomalies == ()
    longer = Image(device=b"d" * 2049)
    contents = cust_flash.read(change(longer.build(), CA, longer.device[2048:] + b"he CA"))
    assert items_of(contents)[kinds.DEVICE_CERT] == longer.device
    assert intact(contents) == {
        kinds.DEVICE_CERT: True,
        kinds.CA_CERT: False,
        kinds.PRIVATE_KEY: True,
    }


def test_a_key_to_the_end_of_the_partition() -> None:
    image = Image(key=b"k" * (SIZE - KEY))
    contents = cust_flash.read(image.build())
    assert items_of(contents) == expected(image)
    longest = change(image.build(), 20, struct.pack("<H", 0xFFFF))
    assert kinds.PRIVATE_KEY not in intact(cust_flash.read(longest))


@pytest.mark.parametrize(
    ("length", "listed"),
    [
        (40, set()),
        (64, set()),
        (86, set()),
        (87, {kinds.DEVICE_CERT}),
        (2130, {kinds.DEVICE_CERT}),
        (2131, {kinds.DEVICE_CERT, kinds.CA_CERT}),
        (6223, {kinds.DEVICE_CERT, kinds.CA_CERT}),
        (6224, {kinds.DEVICE_CERT, kinds.CA_CERT, kinds.PRIVATE_KEY}),
    ],
)
def test_cut_images(length: int, listed: set[str]) -> None:
    contents = cust_flash.read(Image().build()[:length])
    assert set(intact(contents)) == listed
    lost = {kinds.DEVICE_CERT, kinds.CA_CERT, kinds.PRIVATE_KEY} - listed
    assert {kind for code, kind in codes(contents) if code == kinds.ITEM_CRC} == lost
    assert all(intact(contents).values())


@pytest.mark.parametrize("length", [0, 24, 27])
def test_cut_before_the_magics_end(length: int) -> None:
    assert cust_flash.recognise(Image().build()[:length]) is None


@pytest.mark.parametrize("key", KEYS, ids=KEY_NAMES)
@pytest.mark.parametrize("length", range(28, 70, 3))
def test_cut_inside_the_metadata(key: bytes | Ds, length: int) -> None:
    read_or_refuse(Image(key=key).build()[:length])


@pytest.mark.parametrize("at", [87, 2111, 2131, 6207, 6224, SIZE - 1])
def test_stray_data(at: int) -> None:
    (stray,) = cust_flash.read(change(Image().build(), at, b"\x00")).anomalies
    assert (stray.code, stray.offset) == (kinds.TRAILING_DATA, at)


@pytest.mark.parametrize(("stride", "at"), [(1216, 6208 + 1600), (1600, 6208 + 1216 + 400)])
def test_stray_data_behind_the_iv(stride: int, at: int) -> None:
    key = Ds(b"\x01" * 1200, stride=stride)
    (stray,) = cust_flash.read(change(Image(key=key).build(), at, b"\x00")).anomalies
    assert (stray.code, stray.offset) == (kinds.TRAILING_DATA, at)


def test_the_writers_byte_is_not_stray_but_others_are() -> None:
    image = Image(ca=None)
    data = image.build()
    assert cust_flash.read(data).anomalies == ()
    (stray,) = cust_flash.read(change(data, CA, b"\x01")).anomalies
    assert (stray.code, stray.offset) == (kinds.TRAILING_DATA, CA)


# --- Any image ---------------------------------------------------------------------------------

ds_keys = st.builds(
    Ds,
    st.sampled_from([1200, 1584]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
).map(lambda ds: replace(ds, stride=len(ds.ciphertext) + 16))
images = st.builds(
    Image,
    st.binary(min_size=1, max_size=2048),
    st.one_of(st.none(), st.binary(min_size=1, max_size=4096)),
    st.one_of(st.binary(min_size=1, max_size=4096), ds_keys),
    st.booleans(),
)


@settings(deadline=None)
@given(images)
def test_what_is_built_is_read(image: Image) -> None:
    contents = cust_flash.read(image.build(), "pre_prov" if image.swapped else "esp_secure_cert")
    assert items_of(contents) == expected(image)
    assert contents.anomalies == ()
    assert all(item.intact is not False for item in contents.items)


@settings(deadline=None)
@given(images, st.integers(0, SIZE - 1), st.integers(1, 255))
def test_a_changed_byte_never_goes_unseen(image: Image, at: int, flip: int) -> None:
    """Whatever byte changes: an item is damaged, or something is stray, or it is metadata."""
    data = image.build()
    contents = read_or_refuse(change(data, at, bytes((data[at] ^ flip,))))
    if at >= 64 and not (at == CA and image.ca is None):
        assert contents is not None
        assert contents.anomalies


def read_or_refuse(data: bytes) -> Contents | None:
    """Contents, or nothing where FormatError says that it is none; any other error fails."""
    tuple(cust_flash.fields(data))
    try:
        contents = cust_flash.read(data, "pre_prov")
    except FormatError:
        assert cust_flash.recognise(data, "pre_prov") is None
        return None
    for item in contents.items:
        assert sum(item.spans[-1]) <= len(data) or item.kind == kinds.DS_CONTEXT
    return contents


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([24, 36]))
def test_any_bytes(data: bytes, at: int) -> None:
    read_or_refuse(data)
    read_or_refuse(change(data.ljust(at, b"\0"), at, struct.pack("<I", MAGIC)))


KNOWN = [data for data in known_images() if cust_flash.recognise(data)]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_images(draws: st.DataObject) -> None:
    data = draws.draw(st.sampled_from(KNOWN))
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.one_of(st.integers(0, 63), st.integers(0, len(data) - 1)))
        data = change(data, at, draws.draw(st.binary(min_size=1, max_size=8)))
    read_or_refuse(data[: draws.draw(st.integers(0, len(data)))])
