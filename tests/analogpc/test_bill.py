"""Bills of runs: every term computed by hand, conservation, output for users, and bills of saved files."""

import json
import math
import re

import numpy as np
import pytest

import analogpc as apc
from analogpc.commands.app import main
from analogpc.devices.converters.specification import ADC, DAC
from analogpc.devices.costs.charges import PARTS
from analogpc.devices.costs.ledger import LedgerError
from analogpc.devices.costs.technology import Technology, TechnologyError, technology
from analogpc.devices.substrate import Digital
from analogpc.training.fit import begin
from analogpc.training.run import Run
from analogpc.training.study import Study

PRICES = {
    "array.read_voltage": (0.2, "V"),
    "array.read_time": (10, "ns"),
    "array.wire_capacitance": (0.2, "fF/um"),
    "array.cell_pitch": (0.1, "um"),
    "array.cell_capacitance": (0.03, "fF"),
    "array.columns_per_adc": (2, "1"),
    "array.power": (1, "uW"),
    "dac.energy": (0.3, "pJ"),
    "adc.energy": (1.7, "pJ"),
    "adc.time": (3, "ns"),
    "sums.energy": (0.02, "pJ"),
    "buffer.energy": (0.05, "pJ/bit"),
    "digital.mac_energy": (0.23, "pJ"),
    "digital.memory_energy": (0.07, "pJ/bit"),
    "digital.word": (8, "bit"),
    "digital.lanes": (4, "1"),
    "digital.clock": (1, "GHz"),
    "write.program_energy": (11, "pJ"),
    "write.program_time": (50, "ns"),
}
BY_HAND = Technology(
    name="by-hand", entries={name: {"value": value, "unit": unit, "source": "test"} for name, (value, unit) in PRICES.items()}
)
SI = {name: BY_HAND.quantity(name) for name in PRICES}


def plain(**fields):
    """Crossbars of devices without spread, whose drive is the value itself, written exactly."""
    exact = {"dac": DAC(bits=math.inf, bound=math.inf, scaling="none"), "adc": ADC(bits=math.inf, bound=math.inf)}
    device = "idealized"
    return apc.Analog(
        **{"device": device, "read_noise": 0.0, "scheme": {"kind": "ideal"}, "rows": 4, "columns": 4, **exact, **fields}
    )


def taught(rule, substrate, batches=1, batch=1):
    """A trained run of a network 3-2-2 without biases, and the conductances before training."""
    rng = np.random.default_rng(3)
    net = apc.mlp([3, 2, 2], activation="tanh", substrate=substrate, bias=False, dtype="float64")
    x, y = rng.normal(size=(batch * batches, 3)), np.arange(batch * batches) % 2
    lines = {name: sum(array.conductance() for array in m.arrays) for name, m in net.matrices().items()}
    weights = {name: matrix.weights() for name, matrix in net.matrices().items()}
    run = apc.fit(
        net,
        rule,
        (x, y),
        normalisation=(0.0, 1.0),
        epochs=1,
        batches=batches,
        batch_size=batch,
        progress=False,
        optimiser=apc.SGD(learning_rate=0.01),
    )
    return run, lines, weights


def test_a_step_of_backprop_by_hand():
    """Reads: layer 1 and 2 forwards, layer 2 backwards. Two operations of tanh, one of its slope; both layers learn."""
    run, lines, weights = taught("bp", plain())
    billed = run.bill(BY_HAND)
    parts, meters = billed.by_part(), {name: matrix.meter for name, matrix in run.network.matrices().items()}
    one, _ = lines.values()
    x = run_input(run)
    hidden = np.tanh(next(iter(weights.values())) @ x)
    first, second = meters.values()
    # Conductance sums of the word lines, each times the square of what drives it.
    assert first.read_siemens == pytest.approx(np.square(x) @ one.sum(axis=1), rel=1e-5)
    read = (first.read_siemens + second.read_siemens) * SI["array.read_voltage"] ** 2 * SI["array.read_time"]
    assert parts["arrays"] == pytest.approx(read, rel=1e-12)
    assert (first.conversions_in, first.conversions_out) == (3, 2)
    assert (second.conversions_in, second.conversions_out) == (2 + 2, 2 + 2)
    assert parts["drivers"] == pytest.approx(7 * SI["dac.energy"], rel=1e-12)
    assert parts["converters"] == pytest.approx(6 * SI["adc.energy"], rel=1e-12)
    assert parts["sums"] == pytest.approx(6 * SI["sums.energy"], rel=1e-12)
    # A line of four cells in each of two arrays, charged to the square of what drives it.
    line = (
        4 * (SI["array.wire_capacitance"] * SI["array.cell_pitch"] + SI["array.cell_capacitance"]) * SI["array.read_voltage"] ** 2
    )
    charged = first.charged_rows + second.charged_rows + second.charged_columns
    assert first.charged_rows == pytest.approx(2 * np.square(x).sum())
    assert second.charged_rows == pytest.approx(2 * np.square(hidden).sum(), rel=1e-4)
    assert parts["lines"] == pytest.approx(charged * line, rel=1e-12)
    # 3 + 2 values in and out of layer 1, twice 2 + 2 of layer 2, of 8 bits.
    assert parts["buffers"] == pytest.approx((5 + 8) * 8 * SI["buffer.energy"], rel=1e-12)
    # Activations: 2 values; the slope: 2; the error of the output: 2; what came back: 2.
    word, mac = 8 * SI["digital.memory_energy"], SI["digital.mac_energy"]
    work = run.ledger.total().work
    assert work == {"activation": 2, "slope": 2, "error": 2, "gradient": 2} or work["activation"] == 4
    states = work["activation"] * (2 * word + mac) + sum(work[k] for k in ("slope", "error", "gradient")) * (3 * word + mac)
    assert parts["states"] == pytest.approx(states, rel=1e-12)
    # The products of 3 x 2 and 2 x 2 weights are formed digitally, and both devices of each weight that changes are programmed.
    assert first.digital_macs + second.digital_macs == 10
    assert parts["digital"] == pytest.approx(10 * mac, rel=1e-12)
    programmed = first.programmed + second.programmed
    assert programmed == 2 * 10
    assert parts["programming"] == pytest.approx(programmed * SI["write.program_energy"], rel=1e-12)
    # Two converters for four columns: two outputs need one turn; three inputs, read backwards, would need two.
    read = SI["array.read_time"] + SI["adc.time"]
    steps = billed.to_dict()["seconds_by_part"]
    assert steps["reads"] == pytest.approx(2 * read, rel=1e-12)
    assert steps["reads backwards"] == pytest.approx(read, rel=1e-12)
    # Both layers at once: three word lines of the one and two of the other.
    assert steps["programming"] == pytest.approx(3 * SI["write.program_time"], rel=1e-12)
    assert parts["static"] == pytest.approx(4 * SI["array.power"] * billed.seconds, rel=1e-12)
    assert billed.joules == pytest.approx(sum(parts.values()), rel=1e-12)


def run_input(run):
    """The only sample that the run was trained on."""
    rng = np.random.default_rng(3)
    return run.data.inputs(rng.normal(size=(1, 3)), run.network.dtype)[0].reshape(-1)


def test_a_step_of_predictive_coding_by_hand():
    """One step from the feed-forward pass: layer 2 backwards, then layer 2 forwards from where its input went."""
    rule = apc.PredictiveCoding(steps=1, step_size=0.1)
    run, _, _ = taught(rule, plain())
    first, second = (matrix.meter for matrix in run.network.matrices().values())
    assert (first.forward_reads, first.backward_reads) == (1, 0)
    assert (second.forward_reads, second.backward_reads) == (2, 1)
    billed = run.bill(BY_HAND)
    parts, read = billed.by_part(), SI["array.read_time"] + SI["adc.time"]
    assert parts["converters"] == pytest.approx((2 + 3 * 2) * SI["adc.energy"], rel=1e-12)
    assert parts["drivers"] == pytest.approx((3 + 3 * 2) * SI["dac.energy"], rel=1e-12)
    steps = billed.to_dict()["seconds_by_part"]
    assert steps["reads"] == pytest.approx(3 * read, rel=1e-12)
    assert steps["reads backwards"] == pytest.approx(read, rel=1e-12)


@pytest.fixture(scope="module")
def run():
    net = apc.mlp([64, 12, 10], activation="tanh", substrate=apc.Analog(device="reram-sb", adc_bits=8, rows=32, columns=32))
    return apc.fit(
        net, "pc", apc.load_data("digits"), epochs=2, batch_size=500, progress=False, optimiser=apc.SGD(learning_rate=0.05)
    )


@pytest.mark.parametrize("name", ["isaac-32nm", "neurosim-22nm"])
@pytest.mark.parametrize("twin", [False, True])
def test_parts_and_matrices_add_up(run, name, twin):
    billed = run.bill(name, twin=twin)
    assert set(billed.by_part()) == set(PARTS)
    assert sum(billed.by_part().values()) == pytest.approx(billed.joules, rel=1e-12)
    assert sum(billed.by_matrix().values()) == pytest.approx(billed.joules, rel=1e-12)
    assert sum(charge.joules for part in PARTS for charge in billed.trace(part)) == pytest.approx(billed.joules, rel=1e-12)
    assert billed.seconds == pytest.approx(sum(billed.to_dict()["seconds_by_part"].values()), rel=1e-12)
    assert billed.square_millimetres == pytest.approx(1e6 * sum(a.square_metres for a in billed.areas), rel=1e-12)
    epochs = [run.bill(name, twin=twin, epochs=n) for n in (1, 2)]
    assert epochs[1].joules == pytest.approx(billed.joules, rel=1e-9)
    assert 0 < epochs[0].joules < epochs[1].joules


def test_a_bill_shows_its_totals(run):
    bill = run.bill(technology="isaac-32nm")
    assert re.fullmatch(
        r"Bill\(isaac-32nm: [\d.]+ [munpµ]?J, [\d.]+ [munpµ]?s, [\d.]+ mm2; [\d,]+ samples in [\d,]+ batches\)", repr(bill)
    )


def test_a_bill_scales_with_batches_steps_bits_and_sharing():
    analog = plain(adc_bits=8, adc=ADC(bits=8), dac=DAC(bits=8))

    def cost(rule, **changes):
        return taught(rule, analog, **changes)[0].bill("isaac-32nm")

    one, four = cost("bp"), cost("bp", batch=4)
    assert four.by_part()["converters"] == pytest.approx(4 * one.by_part()["converters"], rel=1e-12)
    assert four.to_dict()["seconds_by_part"]["reads"] == pytest.approx(4 * one.to_dict()["seconds_by_part"]["reads"], rel=1e-12)
    steps = [apc.PredictiveCoding(steps=n, step_size=0.05) for n in (4, 5, 6)]
    conversions = [cost(rule).by_part()["converters"] for rule in steps]
    assert conversions[2] - conversions[1] == pytest.approx(conversions[1] - conversions[0], rel=1e-12)
    run = taught("bp", analog)[0]
    finer = technology("isaac-32nm").entries["adc.energy"].value * 2
    doubled = run.bill("isaac-32nm", changes={"adc.energy": finer})
    assert doubled.by_part()["converters"] == pytest.approx(2 * one.by_part()["converters"], rel=1e-12)
    seven = taught("bp", plain(adc=ADC(bits=7), dac=DAC(bits=8)))[0].bill("isaac-32nm")
    assert seven.by_part()["converters"] == pytest.approx(one.by_part()["converters"] / 2, rel=1e-12)
    # Four lines share a converter, or each has its own: its conversions are then a single turn.
    shared, alone = (run.bill(BY_HAND, changes={"array.columns_per_adc": n}) for n in (4, 1))
    assert shared.joules - shared.by_part()["static"] == pytest.approx(alone.joules - alone.by_part()["static"], rel=1e-12)
    assert shared.seconds > alone.seconds


def test_a_file_is_billed_later_with_any_technology(run, tmp_path):
    path = tmp_path / "run.h5"
    run.save(path)
    loaded = Run.load(path)
    assert loaded.ledger.total() == run.ledger.total()
    for name in ("isaac-32nm", "neurosim-22nm"):
        assert loaded.bill(name).to_dict() == run.bill(name).to_dict()
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\ninclude = "isaac-32nm"\n[adc]\nenergy = { value = 1, unit = "fJ", source = "a dream" }\n')
    assert loaded.bill(mine).by_part()["converters"] == pytest.approx(
        run.bill("isaac-32nm").by_part()["converters"] / 1667, rel=1e-12
    )


def test_a_run_that_was_stopped_costs_what_a_whole_one_costs(tmp_path):
    net = apc.mlp([64, 12, 10], activation="tanh", substrate=apc.Analog(device="reram-sb", adc_bits=8))
    how = {"batch_size": 600, "epochs": 2, "progress": False, "optimiser": apc.SGD(learning_rate=0.05)}
    whole = apc.fit(net, "ipc", apc.load_data("digits"), **how)
    stopped = apc.fit(net, "ipc", apc.load_data("digits"), batches=1, **how)
    stopped.save(tmp_path / "run.h5")
    resumed = Run.load(tmp_path / "run.h5").train(progress=False)
    assert resumed.ledger.total() == whole.ledger.total()
    assert resumed.bill().to_dict() == whole.bill().to_dict()


def test_digital_runs_are_billed_by_the_twin():
    net = apc.mlp([64, 12, 10], activation="tanh", substrate=Digital())
    done = apc.fit(net, "bp", apc.load_data("digits"), batches=1, batch_size=8, progress=False)
    assert done.bill("digital-45nm").joules > 0
    assert done.bill("digital-45nm").joules == pytest.approx(done.bill("digital-45nm", twin=True).joules, rel=1e-12)
    # Reads: 64 x 12 and 12 x 10 forwards, 12 x 10 backwards, for 8 samples.
    tally = done.ledger.total()
    assert sum(m.forward_reads + m.backward_reads for n, m in tally.meters.items() if n.endswith("weight")) == 3 * 8


def test_the_gpu_records_what_the_processor_does(device):
    for substrate in (Digital(), apc.Analog(device="reram-sb", adc_bits=8)):
        net = apc.mlp([64, 12, 10], activation="tanh", substrate=substrate)
        how = {"batch_size": 16, "batches": 3, "progress": False, "optimiser": apc.SGD(learning_rate=0.05)}
        here, there = (apc.fit(net, "pc", apc.load_data("digits"), backend=backend, **how) for backend in ("cpu", "gpu"))
        one, other = here.ledger.total(), there.ledger.total()
        assert (one.samples, one.batches, one.work) == (other.samples, other.batches, other.work)
        assert one.path.parts == other.path.parts
        for kind in ("forward", "backward", "macs"):
            assert [a for t, a in sorted(one.path.busy().items()) if t[0] == kind] == [
                a for t, a in sorted(other.path.busy().items()) if t[0] == kind
            ]


def test_a_study_can_price_its_epochs():
    net = apc.mlp([64, 12, 10], activation="tanh", substrate=apc.Analog(device="reram-sb", adc_bits=8))
    fitted = apc.fit(net, "bp", apc.load_data("digits"), epochs=1, batches=1, batch_size=800, progress=False)
    fields = {**fitted.study.to_dict(), "technology": "neurosim-22nm", "epochs": 2}
    data = apc.load_data("digits")
    priced = begin(Study.from_dict(fields), data).train(data, progress=False)
    for epoch in (1, 2):
        billed = priced.bill("neurosim-22nm", epochs=epoch)
        assert priced.history["joules"][epoch - 1] == pytest.approx(billed.joules, rel=1e-9)
        assert priced.history["latency_seconds"][epoch - 1] == pytest.approx(billed.seconds, rel=1e-9)
    with pytest.raises(TechnologyError, match="there is no technology 'nothing'"):
        begin(Study.from_dict({**fields, "technology": "nothing"}), data)


def test_a_technology_that_lacks_an_entry_is_refused_before_anything_is_learnt():
    data = apc.load_data("digits")
    net = apc.mlp([64, 10], activation="tanh", substrate=apc.Analog(device="reram-sb", adc_bits=8, dac_bits=8))
    fields = {**apc.fit(net, "bp", data, batches=1, batch_size=8, progress=False).study.to_dict(), "technology": "hermes-14nm"}
    run = begin(Study.from_dict(fields), data)
    with pytest.raises(TechnologyError, match=r"'hermes-14nm' has no entry 'write.pulse_voltage'"):
        run.train(data, progress=False)
    # Nothing was read, written or drawn: without a technology it begins as ever.
    untouched = begin(Study.from_dict({**fields, "technology": ""}), data)
    assert run.position.batch == 0
    for name, matrix in run.network.matrices().items():
        assert matrix.meter == untouched.network.matrices()[name].meter
        np.testing.assert_array_equal(matrix.weights(), untouched.network.matrices()[name].weights())


def test_refusals_are_sentences(run, tmp_path):
    with pytest.raises(TechnologyError, match=r"'hermes-14nm' has no entry 'write.pulse_voltage'"):
        run.bill("hermes-14nm")
    with pytest.raises(LedgerError, match=r"epochs = 3 is not allowed: the run has finished 2"):
        run.bill(epochs=3)
    with pytest.raises(ValueError, match=r"there is no part 'nothing' of a bill; the parts are arrays, lines"):
        run.bill().trace("nothing")
    run.ledger.complete = False
    try:
        with pytest.raises(LedgerError, match="did not record the order of operations"):
            run.bill()
    finally:
        run.ledger.complete = True


def test_the_command(run, tmp_path, capsys):
    path = tmp_path / "run.h5"
    run.save(path)

    def said(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["bill", str(path), *arguments])
        return left.value.code, capsys.readouterr()

    code, out = said("--json", "--trace", "converters", "--set", "array.columns_per_adc=16")
    assert code == 0
    reported = json.loads(out.out)
    assert reported["bill"]["joules"] == pytest.approx(run.bill(changes={"array.columns_per_adc": 16}).joules)
    assert reported["digital_twin"]["joules"] > 0
    assert sum(line["joules"] for line in reported["trace"]) == pytest.approx(reported["bill"]["joules_by_part"]["converters"])
    code, out = said()
    assert code == 0
    assert "digital twin" in out.out
    assert "converters" in out.out
    code, out = said("--trace", "pulses")
    assert "write.pulse_voltage = 2 V (CiMLoop, cell of ISAAC: set)" in out.out
    for arguments, sentence in (
        (("--technology", "nothing"), "there is no technology 'nothing'"),
        (("--trace", "nothing"), "there is no part 'nothing'"),
        (("--set", "array.columns_per_adc"), "is not of the form ENTRY=NUMBER"),
        (("--epochs", "9"), "the run has finished 2"),
    ):
        code, out = said(*arguments)
        assert code == 1
        assert sentence in " ".join(out.err.split())
        assert "Traceback" not in out.err
