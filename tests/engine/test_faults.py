"""The plug pulled in the middle of `up`: the next one goes on where it was, and nothing is left over."""

import psutil

from tests.engine.checkout import Checkout, Running, wait_until

LONG = {"epochs": "60", "accelerator": "cpu:2"}


def trainers(checkout: Checkout) -> list[psutil.Process]:
    return [process for process in checkout.processes() if "train" in process.cmdline()]


def until_second_checkpoint(up: Running) -> None:
    up.wait_for("epoch 3/60")


def next_up(checkout: Checkout) -> str:
    """The next `make up`, to its good end; what it printed."""
    result = checkout.tool("up")
    assert result.returncode == 0, result.stdout + result.stderr
    assert checkout.outputs()["training"]["metrics"]["accuracy"] > 0.9
    return result.stdout


def test_ctrl_c_stops_the_trainers_after_a_checkpoint_and_up_resumes(checkout: Checkout) -> None:
    checkout.set(**LONG)
    with checkout.up_in_background() as up:
        until_second_checkpoint(up)
        up.interrupt()
        assert up.process.wait(timeout=60) != 0
        printed = up.log.read_text()
    assert "stopped after checkpoint" in printed
    assert "the next `up` goes on from its checkpoint" in printed
    assert "Traceback" not in printed
    wait_until(lambda: trainers(checkout) == [], "the trainers to end")
    assert "going on from" in next_up(checkout)


def test_a_killed_trainer_fails_the_run_and_the_next_up_resumes(checkout: Checkout) -> None:
    checkout.set(**LONG)
    with checkout.up_in_background() as up:
        until_second_checkpoint(up)
        ranks = [process for process in trainers(checkout) if "torch.distributed.run" not in process.cmdline()]
        ranks[0].kill()
        assert up.process.wait(timeout=60) != 0
    wait_until(lambda: trainers(checkout) == [], "the trainers to end")
    assert "going on from" in next_up(checkout)


def test_a_killed_engine_leaves_no_process_and_the_next_up_converges(checkout: Checkout) -> None:
    checkout.set(**LONG)
    with checkout.up_in_background() as up:
        until_second_checkpoint(up)
        up.kill_engine()
    wait_until(lambda: checkout.processes() == [], "trainers, provider and language host to end")
    printed = next_up(checkout)
    assert "going on from" in printed
    again = checkout.tool("up")
    assert "pending operations" not in again.stdout + again.stderr
    assert checkout.tool("down").returncode == 0
    assert checkout.processes() == []


def test_an_update_cut_off_leaves_one_service_after_the_next_up(checkout: Checkout) -> None:
    assert checkout.tool("up").returncode == 0
    checkout.set(replicas="2")
    with checkout.up_in_background() as up:
        wait_until(lambda: len(supervisors(checkout)) == 2, "the second service")
        up.kill_engine()
    checkout.set(replicas="1")
    assert checkout.tool("up").returncode == 0
    (service,) = supervisors(checkout)
    assert len(service.children()) == 1


def supervisors(checkout: Checkout) -> list[psutil.Process]:
    return [process for process in checkout.processes() if "supervisor.supervisord" in process.cmdline()]


def test_an_engine_killed_while_the_service_starts_leaves_nothing_after_down(checkout: Checkout) -> None:
    with checkout.up_in_background() as up:
        up.wait_for("LocalService inference creating")
        up.kill_engine()
    assert checkout.tool("down").returncode == 0
    wait_until(lambda: checkout.processes() == [], "the service to end")
    assert not [*(checkout.path / ".accelstack").glob("stacks/local/*")]
