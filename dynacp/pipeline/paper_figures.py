"""The figures of the DynaCP paper on TAU's development test split, in per cent: tables 2 and 3."""

TAU_CLASSES = (
    "airport", "bus", "metro", "metro_station", "park",
    "public_square", "shopping_mall", "street_pedestrian", "street_traffic", "tram",
)  # fmt: skip
"""The classes of TAU, sorted."""

TABLE2 = {
    ("general", "DyMN"): (64.57, 60.37, 59.56, 61.50),
    ("general", "MN"): (67.06, 59.46, 57.33, 61.28),
    ("general", "DyMN + MN"): (67.84, 62.25, 60.53, 63.54),
    ("general", "student"): (63.65, 56.96, 56.39, 59.00),
    ("device-specific", "DyMN"): (67.69, 61.62, 59.58, 62.96),
    ("device-specific", "MN"): (69.11, 59.06, 57.33, 61.83),
    ("device-specific", "DyMN + MN"): (70.09, 62.13, 60.52, 64.24),
    ("device-specific", "student"): (67.50, 57.24, 56.39, 60.37),
}
"""(System, model) -> accuracies in per cent on real, seen and unseen devices, and in all."""

TABLE3 = {
    "general": {
        **dict(zip(TAU_CLASSES, (46.76, 74.14, 57.04, 53.60, 76.23, 43.74, 65.19, 38.45, 78.32, 56.49), strict=True)),
        "a": 69.0, "b": 59.12, "c": 62.83,
        "s1": 56.30, "s2": 55.21, "s3": 59.36, "s4": 57.12, "s5": 57.09, "s6": 54.97,
    },
    "device-specific": {
        **dict(zip(TAU_CLASSES, (52.67, 75.39, 57.00, 53.43, 79.33, 46.20, 66.30, 37.34, 78.48, 57.57), strict=True)),
        "a": 71.52, "b": 63.74, "c": 67.23,
        "s1": 56.48, "s2": 55.82, "s3": 59.42, "s4": 57.12, "s5": 57.09, "s6": 54.97,
    },
}  # fmt: skip
"""System -> accuracies of its students in per cent, by class and by device."""


def figure(system: str, model: str, measure: str) -> float | None:
    """The paper's accuracy in [0, 1], or None where it gives none, as for an unknown class or device.

    `system` is "general" or "device-specific", and `model` "DyMN", "MN", "DyMN + MN" or "student": together a key of
    `TABLE2`. `measure` is "real", "seen" or "unseen" (devices), "accuracy" (of all), one of `TAU_CLASSES`, or a device
    such as "a" or "s1"; of classes and devices the paper gives the student's alone. Raises `KeyError` for a pair of
    system and model without figures of the first four.
    """
    columns = ("real", "seen", "unseen", "accuracy")
    if measure in columns:
        return TABLE2[(system, model)][columns.index(measure)] / 100
    value = TABLE3[system].get(measure) if model == "student" else None
    return None if value is None else value / 100
