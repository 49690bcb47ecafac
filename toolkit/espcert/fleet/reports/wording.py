"""What the HTML report says in words: states of a module, and images that could not be read."""

from __future__ import annotations

from typing import Final, NamedTuple

ERROR: Final = "error"
FAILED: Final = "failed"
UNREADABLE: Final = "unreadable"
WARNING: Final = "warning"
SKIPPED: Final = "skipped"
OK: Final = "ok"
STATES: Final = (ERROR, FAILED, UNREADABLE, WARNING, OK, SKIPPED)
"""What can be said of a module, worst first; and of a file that is none."""

STATE_WORDS: Final = {
    "audit": {
        OK: "Sound",
        WARNING: "Sound, with warnings",
        ERROR: "Not sound",
        UNREADABLE: "Not readable",
        FAILED: "Not examined",
        SKIPPED: "Left out",
    },
    "migrate": {
        OK: "Migrated",
        WARNING: "Migrated, with warnings",
        ERROR: "Refused",
        UNREADABLE: "Not readable",
        FAILED: "Not examined",
        SKIPPED: "Left out",
    },
}
STATE_MEANINGS: Final = {
    OK: "nothing to do",
    WARNING: "works; somebody should look",
    ERROR: "something does not work",
    UNREADABLE: "no known layout",
    FAILED: "the file or the work on it failed",
    SKIPPED: "files that are no images",
}


class Trouble(NamedTuple):
    """Why a module has no verdict, and what to do about it."""

    meaning: str
    hint: str


_AGAIN: Final = "read the partition again from the module and compare both dumps"
TROUBLES: Final = {
    "empty": Trouble("The file is empty.", _AGAIN),
    "erased": Trouble(
        "The partition is erased flash: the module holds no credentials.",
        "check the offset that was read; if it is right, the module must be provisioned",
    ),
    "truncated": Trouble("The dump ends before the partition does.", _AGAIN),
    "encrypted_or_random": Trouble(
        "The bytes look like ciphertext or random bytes.",
        "give the flash encryption key, or read the partition through the running chip",
    ),
    "esp32_encrypted": Trouble(
        "The bytes look like ESP32 flash encryption.",
        "give the flash encryption key, or read the partition through the running chip",
    ),
    "partition_table": Trouble(
        "The file is a partition table, not the partition.",
        "read the partition at the offset that the table gives",
    ),
    "app_image": Trouble(
        "The file is an application or a bootloader, not the partition.",
        "read the partition with the credentials, or leave the file out",
    ),
    "no_partition": Trouble(
        "A flash image without a partition that holds credentials.",
        "name the partition with --label, or the table with --partition-table-offset",
    ),
    "several_partitions": Trouble(
        "A flash image with several partitions that hold credentials.",
        "name the partition with --label",
    ),
    "unknown": Trouble(
        "The file is no known layout.", "check what was read, and from which offset"
    ),
    "too-large": Trouble(
        "The file is larger than any flash of these modules.", "check what was read"
    ),
    "read-failed": Trouble("The file could not be read.", "mend access to it, then run again"),
    "write-failed": Trouble(
        "The output could not be written.", "make room or mend access, then run again"
    ),
}
MIGRATED_MEANINGS: Final = STATE_MEANINGS | {
    OK: "written and read back",
    WARNING: "written; somebody should look",
    ERROR: "nothing was written",
}
UNEXPLAINED: Final = Trouble(
    "The module could not be examined.", "look at the message in its row, then run again"
)
