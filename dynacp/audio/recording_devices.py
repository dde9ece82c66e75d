"""Recording devices: which of a data set's are clean and which are real, and what they may be called."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dynacp.settings import require, sourced

REAL = "real"
"""The group of real devices that were trained on."""

SEEN = "seen"
"""The group of other devices that were trained on: simulated ones, in TAU."""

UNSEEN = "unseen"
"""The group of devices that were not trained on."""

DEVICE_GROUPS = (REAL, SEEN, UNSEEN)
"""The groups of devices, in the order of tables."""

OVERALL = "accuracy"
"""The name of the measure over all devices and classes."""

MOST_BYTES = 100
"""The most bytes of a device's name in UTF-8: a file name has at most 255, with all that is put before and after it."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*,]')
"""What Windows takes in no file name, and the comma, which separates names in settings."""

_WINDOWS_OWN = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class RecordingDevices:
    """The roles of devices, by the names that the data gives them. Raises `SettingError` for no name at all.

    Names that the data does not have play no role, so that the defaults do for parts of TAU.
    """

    clean: str = sourced("a", "TAU: its high-quality device, whose clips take the impulse responses of --irs")
    real: str = sourced("a,b,c", "TAU: its real devices, separated by commas; the others are simulated")

    def __post_init__(self) -> None:
        for name in ("clean", "real"):
            require(bool(getattr(self, name).strip(" ,")), f"recording.{name}", getattr(self, name), "a device's name")

    @property
    def real_names(self) -> tuple[str, ...]:
        """The names of the real devices, some of which the data may not have."""
        return tuple(name.strip() for name in self.real.split(","))

    def groups(self, tested: Collection[str], trained: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Group -> those of the `tested` devices that are in it; groups without any are left out.

        Groups are those of `DEVICE_GROUPS`, in that order; devices keep the order of `tested`. `trained` are the
        devices with training clips.
        """
        real = self.real_names
        groups = {
            REAL: tuple(name for name in tested if name in trained and name in real),
            SEEN: tuple(name for name in tested if name in trained and name not in real),
            UNSEEN: tuple(name for name in tested if name not in trained),
        }
        return {name: devices for name, devices in groups.items() if devices}


def check_names(devices: Collection[str], *, files: Collection[str], columns: Collection[str]) -> None:
    """Raise `ValueError` for a device whose name cannot name its files, or its column in tables.

    `files` and `columns` are the names that are already taken. No two devices may have names that differ in case alone,
    nor may a device and one of `files`: some disks ignore case. The error gives the remedy, but no file.
    """
    owner = {_on_any_disk(name): name for name in files}
    for name in devices:
        if reason := _unfit(name):
            raise ValueError(f"the device {name!r} cannot name files: {reason}; rename it")
        if name in (*files, *columns):
            raise ValueError(f"no device may be named {name!r}, which means something else here; rename it")
        if (other := owner.setdefault(_on_any_disk(name), name)) != name:
            raise ValueError(f"the device {name!r} and {other!r} are one name on a disk that ignores case; rename one")


def _unfit(name: str) -> str | None:
    """Why no file can be named after a device, or None."""
    if not name:
        return "the name is empty"
    if len(name.encode(errors="replace")) > MOST_BYTES:
        return f"the name is longer than {MOST_BYTES} bytes"
    if found := _FORBIDDEN.search(name):
        return f"{found[0]!r} is in it"
    if not name.isprintable():
        return "a character in it cannot be printed"
    if name.strip(" .") != name:
        return "it begins or ends with a space or a dot"
    return "Windows keeps the name for itself" if _WINDOWS_OWN.fullmatch(name) else None


def _on_any_disk(name: str) -> str:
    """What a name comes to on a disk that ignores case and how letters are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
