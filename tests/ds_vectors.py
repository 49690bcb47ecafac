"""DS keys of another origin, and a maker of DS keys for tests.

The vectors are test data of ESP-IDF 102122904ad (Apache-2.0), in
components/esp_security/test_apps/crypto_drivers/main, where its own script made them for the
hardware. Nothing here uses the code under test, so that a mistake cannot hide in both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Vector(NamedTuple):
    """An RSA-1024 key as ESP-IDF's tests have it: numbers in hex, the ciphertext in base64."""

    source: str
    key_hex: str
    iv_hex: str
    y_hex: str
    m_hex: str
    rb_hex: str
    m_prime: int
    length: int
    ciphertext_base64: str

    @property
    def key(self) -> bytes:
        """The HMAC key."""
        return bytes.fromhex(self.key_hex)

    @property
    def iv(self) -> bytes:
        """The IV of AES-CBC."""
        return bytes.fromhex(self.iv_hex)

    @property
    def ciphertext(self) -> bytes:
        """What is to be decrypted, C."""
        return base64.b64decode(self.ciphertext_base64)

    @property
    def parameters(self) -> Parameters:
        """What C must decrypt to, but for the digest."""
        y, m, rb = (int(text, 16) for text in (self.y_hex, self.m_hex, self.rb_hex))
        size = (len(self.ciphertext) - 48) // 3
        return Parameters(size, y, m, rb, self.m_prime, self.length)


class Parameters(NamedTuple):
    """The parameters of a DS key; `size` are the bytes of each of the three large numbers.

    `digest` of None stands for the right one.
    """

    size: int
    y: int
    m: int
    rb: int
    m_prime: int
    length: int
    beta: bytes = b"\x08" * 8
    digest: bytes | None = None

    def plaintext(self, iv: bytes) -> bytes:
        """The bytes that are encrypted."""
        numbers = b"".join(n.to_bytes(self.size, "little") for n in (self.y, self.m, self.rb))
        words = struct.pack("<II", self.m_prime, self.length)
        digest = self.digest or hashlib.sha256(numbers + words + iv).digest()
        return numbers + digest + words + self.beta

    def encrypted(self, key: bytes, iv: bytes) -> bytes:
        """The ciphertext, C."""
        cipher = _cipher(key, iv).encryptor()
        return cipher.update(self.plaintext(iv)) + cipher.finalize()


def parameters(size: int, n: int, d: int) -> Parameters:
    """The right parameters of a key."""
    bits = n.bit_length()
    m_prime = 2**32 - pow(n, -1, 2**32)
    return Parameters(size, d, n, 2 ** (2 * bits) % n, m_prime, bits // 32 - 1)


def decrypted(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """The bytes that were encrypted."""
    cipher = _cipher(key, iv).decryptor()
    return cipher.update(ciphertext) + cipher.finalize()


def _cipher(key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    aes_key = hmac.new(key, b"\xff" * 32, hashlib.sha256).digest()
    return Cipher(algorithms.AES(aes_key), modes.CBC(iv))


VECTORS = (
    Vector(
        "digital_signature_test_cases_3072.h, case 2",
        "285e245c935714753b2d80314d6fe2554e2ccdd5ecfa1c93ace85790939f4bf9",
        "f8406dc214cf51faba226c8462e8551f",
        "67da7f8c03059a3a595e840d3b84d7c2426c9af4999086c49fc1a127461cb688c0333a31e19d3352fb0c6b32"
        "8a3cb13ff89fa10cb3d48ba58b0267f986569a0d030003483eca82364bfd0fe8fe25c7d3a1f3fea37d2697c6"
        "25cef8dd4d509cf32d438edfc594568ca1ae5fa46977a6115f7ec17c20d3dbb5bb4a17dd535e76e1",
        "a4280185a40331945ddae9d525c33d7a79a093fe65dbd20b9f9226e76274ac91b4d23d025b7f74ce9b908e0d"
        "71b6cb4352f7d90dec2059aa0535f83e9f396f9f95b776940dd851d2573300e1ae90157b7b0fb5cc936d7087"
        "71f59dbab69701da15d3dadfc28854ba4f9fc48a7f4980cf8f54d6a8855cff739d297304e1606627",
        "9199f87631ede7fa37893d40af4098926d9c8ba4386421c1b0da4c47359479839a394586d5b23c9e292584f8"
        "117bb854765fca05c38a0d95034671e99dda81f7261fa313a31974cbd4672defd6b686e89a4ee3cd732bf238"
        "f935b4ce885976fb4017acbe4751acf661d76113d086ba611b690d941a5ae426bccc83fbbb5205ff",
        0x0DD35669,
        31,
        "4Hd61PLcNyDZx0Y6+DYfFxwoXqMSjmAV3RHZ2xzxAjKC/+ApMH0aaJg6exjSN1UfTPOKnujtQPSVzsOonf45QTmW"
        "Q81FBlOsnl6ddTQZ7Bl52DmdmGeDd3DJOCJfPkD+Uz74l9Mc4esEWfXWEN9t1FKuEzJjC98K+l+ihxe55Dftp/eL"
        "QveUE34PahpWHVIJHQclkKjXT/booloos6xfi+EB6zA+QdmZikCIHtJYgnRmhRCQcHA8mESopluSiYEIaTzkXvQr"
        "7PVGKLpSzqznG6WFR9JvIOAT9aXpkTw75aof6zH3AFe7B5dP32D73IPzsMnpbIaRH6XT1SOTlQ0PRSyUHilUo+5n"
        "8MoozGnGENbpkkv6qq7SITJ68ijbMP8GIyutprfRJINeGVa4c/Y0CO8fRtY7sPxDh9bzkZcdzaAEn8/po2BoMgbh"
        "M+vxY0+aycPNNAdtO57D1bGcsUYy5Y2WtdxkBNCJjtfHgk4wj97On6wX88Axn3LTJ0LLf3Z17HXiMxvKshYY5UHM"
        "eytdBEN3nXJT+1ay90sDCPanIzkXRJHJi6uLQPNDtQRpyhE/yjmiveqEFeAuHG7kfCMe2bmR4yZJ21NmvOc+uain"
        "fO3h9a960lOITiuYgVa+rsyWTVAijdwEMfP3fSr6u50jTsG3OvuuTz/wG9PhUEH0kVjLAUOq/95xr0lZnpvESLH6"
        "gtDilu6I82PcUpxJCLAXpsx8vcSNXkCBKgT1InyHq6T7Dwvt49cJaasooHYB3LO0iQs3hrlFbTXigkXzb6vb1tvS"
        "aBDwfrp3KzGbfZ+w962IcjdFmf/m3Zgb9wgthaYFYadEXs5Hmrp6xrCU0pU/d3PNgadbzPCFrthy+t8SZOwK7MzO"
        "e9dvC0BJ7wwgSmh7kvfQMFxc5YzMep2tbfjL3f2ED2WGVLh18Zw8s9BDZYguy9RMglSBRFxEFvlkoI71R7olUrBa"
        "oa8M/I+Lm0p+Tt1bVbABX+n9TgHpnHE/WK0hXrVe+UvSYUgfqXe7hZsJhNq1Vydz1aOl8Sy7UwFqlybol6Ni6vif"
        "MP3pqDVnVP9rLXkSrTwUbZpi4WA8c6Bzp+S2N5Ar7LqiWbz6RXgFRfslrKF4v6Lno7eUAGXztkTGUcBQ5Vj1Ww2y"
        "pwCopyFqbp8RvEgBeIZPZCfWjKTA+4BQMiHIztPneY7oED86NpIeGAhwjWLPZw/c0cvrGFO3/hq/vE8EwbF7Ag8/"
        "1+S2Dn5kj1NKR5YYixBhYLGq+/t5jhXlucCV9euK/13e6lDpYfAZnlHVHLpcGCRtDhZzZcIzGxei4bKL0I95NXXV"
        "/oD88IPA//1kVHezaMHFnRfUfdDbUSmq6CMhnKiGntXXXXD761cDW0aVHly23YcdOoIMTyt7Iwlh8dM/y/EZ8p2O"
        "yxdRVgM292ZDTwLj3vervWCwB5cm8A7mJjEMZ0kQ6HhsOC6+G2zSYVdiFSiuYTTvUE5DCTj4qoXQrj/ATLUK/5B7"
        "gvYuokQTCAITOuj0DYFiZUu5tXM8TPGTfYSqhGZEOAu02wj6JHO//vwaTn1yXhvULfJFJ1KaInrAupJLrTkghUmI"
        "YAkfQCPnzMo94eZO",
    ),
    Vector(
        "digital_signature_test_cases_4096.h, case 3",
        "a7840057d9090bab02fe761421c9410f8de994b770c6f9ecd4d9d4ee00cede58",
        "4d394b5f64d795af88e4ab73e94f165a",
        "6e6c820333f7bed791c4cdbd4cd52629ed732262a9acae1ed4c3a9309d1028fcd0ead3e8412a115155ad72b5"
        "8f6a8c5d40f39af8f11b5b64705b9692ad9dc79321d999e08ac5a9349f77bcc329e8ce3f3a4ea0f444a9c82f"
        "19485a62be03c020a76ddb962aa6cf30418af50a3091299433e0541552a0dfdd8067b3a5b338c1c9",
        "a63818d5c83483305324ef4d37eeb5068c471354fd1d6f05945169c203eead94bce8732ba5a6a9cf00a9c471"
        "3c7b43ef7930b272727ede3c7dbc840780ff13f7d608e46c8d8c8f09393ee33455adf6175024e5f3708b5823"
        "430c457ccde5f08b628c7a2f8f963035bc1955f6c419416efe9508d0e293ab68e004f59e3398b9a9",
        "a94759af39293b76d63962fab241f12a2ae96a8954749425032b1728f1fc4538501a8b07d6c72a8135fc37ae"
        "81262cf8c047ecf33f0a439e5991711e34ecadae54bd6730887b0000a3c9e0b824966fdd8cc030ddc73e38c9"
        "ea05cfbbfd629e1c4a52a02f05faf7b5f2b88936d53f461b4f3cd2486061d2b78d90d737265b9fd",
        0xD8A50567,
        31,
        "WmBpaCmWhbO6OZ0tgjmsXkFwzLeAV0+cMrbfduBVoq8jA1Wy5UL2owhdjnLZJE4OYAHNm+E5qLhQpcuzc59+Q9kE"
        "ur3tDZ+n2FQE3PCcPiESJ4SsO20ld8RuqYy9Ubt3dHg4bxJ+O3gKLO4g+Di4lOAVAUoDlrwr4m4cYEPE2xctEBoe"
        "jQpCtfuUfNe3z1jADtpXnmUmwnGwBYKLSFo/bQkilk+XqLxQKARk+KKELpdnKZwDrY7ZZKpFkEGC2ZIFQzCNWA8h"
        "3KW0Kd1a67hj7WJzikwyp631R00hJZMDOH59NIZE1iwgT6C7Ye58HuiiaTOvdy+proiLpRgSEVtnkuVu5KOGvGqO"
        "ixWzFUFDxEYCdzZuz8wttpeqFeD15sBN+yYclY/NI+4uEpMitqHhQbZgRvCuhiXmjzvbk8lGKke6KdDsqJiNm4k4"
        "gGQ5YfItUbJNyKuJGWGwT0p4/6bTgtBCZ9gXXE6VuHSIQxgrmwEa9iMCug/r4sPslZOSQoAZmLQhkV1Ihsrn3Mmb"
        "AC3QDodVGFsqZbTrUmiOCd8UNGtjS0pnqnyW9Wx7ifDi8i1kHMg5cH/1x9SZ1ntNdfzaDt8V+P5glqYOOgdnq0ZW"
        "HrG2fcRccXjWd9j+tUKDTRpRhmhoalKwITlMmyjAx/6CXjU1wdHrhsxM6cfVB917/VF7y+HspcdJopQvdVtb3z5G"
        "qFJrvzqyuLWEuCCkSRdMXoiBmlYMB9//KmT60U3TKwjKD20aoLvTwnajGgh2At+6uH/Pz4Y3l12t8zXgOTLv9l7T"
        "+ozlxg4Ch46BV7hlpS86OyijuJqvcaSsv6jP9pqMoNWQkQ1ak99dGxtpGLTFd+jvnLR+pvnL89I4/M4hegD1DKVr"
        "NDlARCJd9s5nh7eqSCpPJartEztomMIaAVjIl9r/Jzthv1WGIqgj0iLVMVhC8+GIwjpFxal4gF0LUkEBdYJKc7Su"
        "vbDkT1y8DvyLgvsdo8KpY204Dod8SZaK2hYLkzrU12GLh/sS0uEhHlxzB852lSeoLuQ//MVwyK4vYBMEE+jlCHGk"
        "uekkPVWqwTjgAWrFFaSTb445JfeSYwYEb7amGH4ivRiFF/jdnads7wWQY386Sc2cX5LmNycPpGCO40s3biDZ8gtm"
        "MJuuGj1utAAsNWgpO+fZoHyo0GOGG8plIDLrAJJ7l8X0BspnyHYG8q+OyVsRBIZ4xWSLWZxP7o70Rw/4Z5q5DzVh"
        "iqR+mH93azofsv8WZTqyS8arWJPhPCNcp3zB67j/M26O8e8vNSEYxNh2AOQ1Baey3Skq8Zpx3IuK/mV8abGWUMqt"
        "PiSO86PCRfuwau/dQ9d/n51g6Kbi8WZ0LejO9PY2IJhhbd1cwFFNAtqRVHyGw3i9edpJA+N+xIWXqV1hi7gJ8XL6"
        "u81tjWmYTOnmvp7rQarydnrPAIddgAKaGNlgrM6mismm+WYphSyNLWWVLtwQrA2yDXiemx0D5D3Cj0zHhV/e8uBv"
        "QD+YSoy+HAMRGzUi4Rv8NVAk5GnhhGK/0rj2MxZrQ4KoP9ji3XD0EOcok6mQg4ts5QK61XAkBgSSumkPrqjCUGwC"
        "pnz1NNLhlnItIY3/VJNgZVW8ROQev3bePrskZinSbc/CUQxwoI7PivJGHOllSzDU4mwqVPKMPFDXlHOCsswVDxOY"
        "Rgl/6166upH7BB4NyZxrNnEJxrLxX/jFBWFMxHN+6XtWXe9XT+UxZzVA9piabW5OifmJGTo3DogrEHJemJ/cNfvs"
        "FT77d/K/nCo1JGrqjy5+WqsPFFRB6lh/io+doyD4Z3fxEtGK756Ej57rbaub1w6AkIGdhHkm1DgcN3KqcJEpf7zl"
        "Y/+RJFW/qMW1PuxgdqNYechZH5tQzGpWwsTxFeve3CVIL0QuX724sghscUaUI/Z0EAhV48ugJmIa6kWlfLuCWzcU"
        "j6ky758x9u6x5hCm7KCmoZocRKsFAeoJnl3dGQCI+daVDXzcqYJijdkeZmYI6dhbHDE3i3P4aruY0NCMOvwkJvQU"
        "qn0wgjoKISpZxOD0Bs6qFUubAY3Y/1CT1JtLa6zk5Pjn3hFV3T7flWEXWTm1TSmfHR1HpYYoDkna0PF+QVJAroPh",
    ),
)
