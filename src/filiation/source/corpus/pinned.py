"""The wheels that the shipped corpus is built from, by the digests that the package index states."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of the package index."""

    package: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """Name of the corpus file, which holds all releases of the package."""
        return f"{self.package}.npz.xz"


SHIPPED = (
    Wheel("transformers", "4.34.0", "3f0187183a7f22c51ecbbc9eac5145df666c5b86bec6feed10e11f0363f3a1f9"),
    Wheel("transformers", "4.40.0", "92797ec3368ed4476a053529a4039a12ad09167d9e371981dda4afb4bdf590ac"),
    Wheel("transformers", "4.44.2", "1c02c65e7bfa5e52a634aff3da52138b583fc6f263c1f28d547dc144ba3d412d"),
    Wheel("transformers", "4.49.0", "6b4fded1c5fee04d384b1014495b4235a2b53c87503d7d592423c06128cbbe03"),
    Wheel("transformers", "4.53.0", "7d8039ff032c01a2d7f8a8fe0066620367003275f023815a966e62203f9f5dd7"),
    Wheel("transformers", "4.57.6", "4c9e9de11333ddfe5114bc872c9f370509198acf0b87a832a0ab9458e2bd0550"),
    Wheel("transformers", "5.23.0", "018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf"),
    Wheel("vllm", "0.2.4", "9cb03c6600976a2a95a778388c458258e40bb73e425b69e3f34dd4e0ee1523b1"),
)
