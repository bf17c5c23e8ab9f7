"""Invented students, the same for the same seed."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta

_FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô")
_MIDDLE = ("Thị", "Văn", "Minh", "Ngọc", "Thanh", "Quang", "Hữu", "Kim", "Gia", "Anh", "Đức", "Bảo")
_GIVEN = ("An", "Bình", "Chi", "Dũng", "Giang", "Hà", "Hải", "Huy", "Khánh", "Lan", "Linh", "Long", "Mai", "Nam", "Nga")
_CLASSES = ("10A1", "10A2", "11A1", "11A2", "12A1", "12A2")
_OLDEST = date(2007, 9, 1)
_DAYS = 3 * 365


def students(count: int, seed: int = 2025) -> Iterator[dict[str, str]]:
    """Yield invented student records with ids from SV0001."""
    chance = random.Random(seed)
    for number in range(1, count + 1):
        name = " ".join(chance.choice(names) for names in (_FAMILY, _MIDDLE, _GIVEN))
        yield {
            "studentid": f"SV{number:04}",
            "name": name,
            "class": chance.choice(_CLASSES),
            "birthdate": (_OLDEST + timedelta(days=chance.randrange(_DAYS))).isoformat(),
            "email": f"{_ascii(name)}.{number}@students.example",
        }


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFD", name.replace("Đ", "D").replace("đ", "d"))
    return ".".join("".join(letter for letter in plain if letter.isascii()).lower().split())
