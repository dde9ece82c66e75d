"""What a space holds under limits, and what single changes of an architecture cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from budget.ledger import ledger
from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import TABLE1, Block
from dynacp.student.layers import layers_of, steps_of
from nas import explore
from nas.space.counting import count, keep
from nas.space.feasible import Feasible
from nas.space.overview import margins, numbers_that_fit
from nas.space.space import Space
from nas.views import exploration

AROUND_TABLE1 = Space(min_blocks=5, max_blocks=6, dilations=(1, 2), expansions=(2.1, 2.7), widths=(32, 56, 80, 104))


@pytest.mark.parametrize(("dtype", "bytes", "macs"), [("float16", 123_288, 28_938_900), ("int8", 67_824, 29_496_672)])
def test_single_changes_are_distinct_networks_of_the_space_and_cost_what_the_ledger_says(
    dtype: str, bytes: int, macs: int
) -> None:
    space = Space()
    changes = space.single_changes(TABLE1)
    networks = [change.architecture for change in changes]
    assert len({TABLE1, *networks}) == 1 + len(changes)
    assert all(space.decode(space.encode(network)) == network for network in networks)
    table = margins(TABLE1, Feasible(space, Limits(), dtype))
    for change, (_, row) in zip(changes, table.iterrows(), strict=True):
        account = ledger(layers_of(change.architecture), dtype=dtype)
        assert (account.bytes, account.macs) == (row["bytes"], row["macs"])
        assert (account.bytes - bytes, account.macs - macs) == (row["more_bytes"], row["more_macs"])
        assert Limits().verdict(account, peak(steps_of(change.architecture))).fits == row["fits"]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_single_changes_hold_what_is_counted_for_each_where_activations_have_a_limit(dtype: str) -> None:
    held = {change.architecture: peak(steps_of(change.architecture)) for change in Space().single_changes(TABLE1)}
    of_table1 = peak(steps_of(TABLE1)).bytes[dtype]
    limits = Limits(max_activation_bytes=of_table1 - 1)
    table = margins(TABLE1, Feasible(Space(), limits, dtype))
    for (network, most), (_, row) in zip(held.items(), table.iterrows(), strict=True):
        assert row["activation_bytes"] == most.bytes[dtype] == of_table1 + row["more_activation_bytes"]
        assert row["fits"] == limits.verdict(ledger(layers_of(network), dtype=dtype), most).fits
    fits = margins(TABLE1, Feasible(Space(), Limits(), dtype))["fits"]
    assert 0 < table["fits"].sum() < fits.sum()


def test_every_choice_that_table_1_reads_is_changed_to_each_of_its_values() -> None:
    table = margins(TABLE1, Feasible(Space(), Limits()))
    of_choice = table.groupby("choice").size()
    assert of_choice["blocks"] == 4  # of 4 to 8
    assert of_choice["width_4"] == of_choice["width_6"] == 14  # of 15; the other blocks keep their channels
    assert of_choice[of_choice.index.str.startswith("dilation")].tolist() == [2] * 6
    assert of_choice[of_choice.index.str.startswith("expansion")].tolist() == [3] * 6
    assert set(of_choice.index) == Space().read(Space().encode(TABLE1))


def test_numbers_by_macs_are_those_of_the_networks_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(min_blocks=1, max_blocks=2, dilations=(1, 2), expansions=(1.5, 2.7), widths=(16, 64, 112))
    limits = Limits(max_bytes=30_000, max_macs=22_000_000)
    numbers = numbers_that_fit(Feasible(space, limits), tmp_path, Console())
    networks = {space.decode(choices) for choices in _every_encoding(space)}
    costs = pd.DataFrame(count(list(networks))._asdict())
    costs["blocks"] = [len(network.blocks) for network in networks]
    fitting = costs[(costs["parameters"] <= 15_000) & (costs["macs"] <= 22_000_000)]
    assert 0 < len(fitting) < len(costs)
    bins = pd.cut(fitting["macs"], [0, *numbers.columns])
    assert list(numbers.columns) == [5_000_000, 10_000_000, 15_000_000, 20_000_000, 22_000_000]
    assert (pd.crosstab(fitting["blocks"], bins, dropna=False).to_numpy() == numbers.to_numpy()).all()
    monkeypatch.setattr("nas.space.census.Census", lambda _: pytest.fail("counted again"))
    assert numbers_that_fit(Feasible(space, limits), tmp_path, Console()).equals(numbers)


def test_numbers_with_a_limit_of_activations_are_those_of_the_networks_and_kept_apart(tmp_path: Path) -> None:
    space = Space(min_blocks=1, max_blocks=2, dilations=(1, 2), expansions=(1.5, 2.7), widths=(16, 64, 112))
    networks = list({space.decode(choices) for choices in _every_encoding(space)})
    blocks, fits = np.array([len(network.blocks) for network in networks]), dict[int | None, np.ndarray]()
    for most in (None, 600_000, 500_000):
        limits = Limits(30_000, 22_000_000, most)
        numbers = numbers_that_fit(Feasible(space, limits), tmp_path, Console())
        fits[most] = keep(limits, networks, dtype="float16")
        assert numbers.sum(axis="columns").to_dict() == {size: (fits[most] & (blocks == size)).sum() for size in (1, 2)}
    assert 0 < fits[500_000].sum() < fits[600_000].sum() < fits[None].sum()
    assert len(list(tmp_path.glob("census-*.json"))) == 3


class Counts:
    """Stands for a census: gives these counts one after the other."""

    def __init__(self, *counts: int) -> None:
        self.counts = iter(counts)

    def count(self, *_: object) -> int:
        return next(self.counts)


@pytest.mark.parametrize(
    "kept", ["", "[]", "[" * 100_000, '{"counted": 1}', '{"counted": [[1]]}', '{"counted": [[0.5], [1]]}']
)
def test_kept_numbers_that_are_damaged_are_counted_again(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feasible = Feasible(replace(AROUND_TABLE1, widths=(32, 56)), Limits(max_macs=3_000_000))
    monkeypatch.setattr("nas.space.census.Census", lambda _: Counts(1, 2))
    numbers_that_fit(feasible, tmp_path, Console())
    (file,) = tmp_path.glob("census-*.json")
    file.write_text(kept)
    monkeypatch.setattr("nas.space.census.Census", lambda _: Counts(3, 4))
    for _ in range(2):
        assert numbers_that_fit(feasible, tmp_path, Console()).to_numpy().tolist() == [[3], [4]]


def _every_encoding(space: Space) -> list[dict[str, object]]:
    """Enough random encodings that every network of a small space is among them (checked by the number)."""
    columns = space.sample(400_000, np.random.default_rng(0))
    rows = pd.DataFrame(columns).drop_duplicates().to_dict("records")
    networks = {space.decode(row) for row in rows}  # type: ignore[arg-type]
    assert len(networks) == space.size()
    return rows  # type: ignore[return-value]


@pytest.mark.parametrize("limit", [[], ["--max-activation-bytes", "659456"]])
def test_the_command_prints_numbers_and_changes_and_draws_both(
    limit: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(explore, "Space", lambda _, network_wide: replace(AROUND_TABLE1, network_wide=network_wide))
    monkeypatch.setattr(exploration, "SAMPLED", 20)
    arguments = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path), *limit]
    assert explore.main(arguments) == 0
    said = capsys.readouterr().out
    assert (" and 659,456 bytes of activations in float16, by MACs" in said) == bool(limit)
    assert ("kB held" in said) == bool(limit)
    assert "Single changes of table1" in said
    numbers = pd.read_csv(tmp_path / "out" / "numbers.csv", index_col="blocks")
    assert numbers.loc[6].sum() > 0
    assert f"{numbers.loc[6].sum():,}" in said
    for picture in ("space.png", "single-changes.png"):
        assert (tmp_path / "out" / picture).is_file()


def test_an_architecture_with_its_own_stem_is_refused_for_its_stem_where_stems_do_not_vary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture = tmp_path / "stem.json"
    architecture.write_text(replace(TABLE1, stem=(8, 16), blocks=(Block(24, 16, residual=2),) * 4).to_json())
    folders = ["--out", str(tmp_path), "--cache", str(tmp_path)]
    assert explore.main([str(architecture), "--vary", "pool", "norm", *folders]) == 2
    said = capsys.readouterr().err
    assert "`stem` (8, 16), not (8, 32)" in said
    assert "block 1" not in said


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["baseline"], "differs from the space's frame"),
        (["nosuch.json"], "'nosuch.json' is neither a file"),
        (["--max-macs", "3e6", "--vary", "none"], "nothing in the space fits"),
        (["--max-bytes", "1_000"], "nothing in the space fits"),
        (
            ["--max-activation-bytes", "1_000", "--vary", "none"],
            "nothing in the space fits 30,000,000 MACs, 128,000 bytes and 1,000 bytes of activations; raise a limit",
        ),
        (["--max-bytes", "1_000_000_000", "--vary", "none"], "exact tables in float16 go up to 529,560 bytes"),
        (["--vary", "none", "pool"], "`--vary none` leaves no choice, but got none pool"),
    ],
)
def test_bad_input_ends_in_a_line_that_names_it(
    arguments: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore.main([*arguments, "--out", str(tmp_path), "--cache", str(tmp_path)]) == 2
    assert error in capsys.readouterr().err
