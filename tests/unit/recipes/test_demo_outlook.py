"""What the demo says of its time: every step announced, times from a measured step, corrected by what was taken."""

import pytest

from pacx.demo.demo import DemoConfig
from pacx.demo.outlook import Clock, Step, seconds_of_a_training_step


def test_every_step_is_announced_with_its_number_and_the_time_left(tmp_path, capsys):
    expected = dict.fromkeys(Step, 120.0)
    clock = Clock(tmp_path / "seconds.json", expected)
    for step in Step:
        with clock.step(step):
            pass
        clock.seconds[step.value] = 240.0  # this machine is half as fast as expected
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "demo: step 1 of 7, simulate the hospital; about 14 minutes left"
    assert said[1] == "demo: step 2 of 7, pack the films; about 24 minutes left"
    assert said[-1] == "demo: step 7 of 7, write the report; about 4 minutes left"
    assert len(said) == 7


def test_a_demo_that_goes_on_knows_what_it_took_before(tmp_path):
    with Clock(tmp_path / "seconds.json", dict.fromkeys(Step, 1.0)).step(Step.PACK):
        pass
    again = Clock(tmp_path / "seconds.json", dict.fromkeys(Step, 1.0))
    assert again.seconds.keys() == {Step.PACK.value}


def test_more_work_and_slower_machines_take_longer():
    usual = DemoConfig().workload().expected(0.1)
    assert usual.keys() == set(Step)
    assert min(usual.values()) > 0
    assert DemoConfig().workload().expected(0.2) == pytest.approx({step: 2 * value for step, value in usual.items()})
    longer = DemoConfig(distillation_epochs=20, film_epochs=200).workload().expected(0.1)
    assert longer[Step.STAGE_2] == pytest.approx(2 * usual[Step.STAGE_2])
    assert longer[Step.STAGE_1] > 2 * usual[Step.STAGE_1]
    alone = DemoConfig(num_processes=1).workload().expected(0.1)
    assert alone[Step.SIMULATE] >= usual[Step.SIMULATE]


def test_the_measured_step_is_a_step():
    """Between a tenth of a millisecond and ten seconds on anything that can run the demo at all."""
    assert 1e-4 < seconds_of_a_training_step() < 10
