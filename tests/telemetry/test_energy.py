import sys
import threading
import time
from types import SimpleNamespace

import pytest

from tiltyard.telemetry.energy import EnergyMeter

codecarbon = pytest.importorskip("codecarbon")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the processor's counters are Linux's")

WRAP = 262_143_328_850


class Package:
    """A processor package's counter as Linux shows it."""

    def __init__(self, powercap, number, start=5_000_000_000):
        self.folder = powercap / "intel-rapl" / f"intel-rapl:{number}"
        self.folder.mkdir(parents=True)
        (self.folder / "name").write_text(f"package-{number}\n")
        (self.folder / "max_energy_range_uj").write_text(f"{WRAP}\n")
        self.value = start
        self.use(0)

    def use(self, joules):
        self.value = (self.value + int(joules * 1e6)) % WRAP
        whole = self.folder / "energy_uj.new"
        whole.write_text(f"{self.value}\n")
        whole.replace(self.folder / "energy_uj")


@pytest.fixture
def powercap(tmp_path):
    return tmp_path / "powercap"


def test_a_machine_without_meters_has_no_energy(powercap, capfd):
    with EnergyMeter(powercap=powercap) as energy:
        pass

    assert energy.metrics() == {}
    assert capfd.readouterr() == ("", "")


def test_without_codecarbon_there_is_no_energy(powercap, monkeypatch):
    Package(powercap, 0)
    for module in [name for name in sys.modules if name.split(".")[0] == "codecarbon"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with EnergyMeter(powercap=powercap) as energy:
        pass

    assert energy.metrics() == {}


@linux
def test_the_packages_of_a_machine_are_summed_and_what_was_used_before_does_not_count(powercap):
    first, second = Package(powercap, 0), Package(powercap, 1, start=77_000_000)
    with EnergyMeter(powercap=powercap) as energy:
        first.use(30)
        second.use(12)
    first.use(1000)

    assert energy.metrics() == {
        "energy.joules": pytest.approx(42, rel=1e-4),
        "energy.cpu_joules": pytest.approx(42, rel=1e-4),
    }


@linux
def test_a_counter_that_starts_over_many_times_loses_nothing(powercap):
    package = Package(powercap, 0)
    with EnergyMeter(interval=0.01, powercap=powercap) as energy:
        for _ in range(15):  # 600 kJ, where the counter holds 262
            package.use(40_000)
            time.sleep(0.05)

    assert energy.cpu_joules == pytest.approx(600_000, rel=1e-4)


@linux
def test_a_core_is_not_counted_beside_its_package(powercap):
    package = Package(powercap, 0)
    core = package.folder / "intel-rapl:0:0"
    core.mkdir()
    for name, text in {"name": "core", "energy_uj": "1", "max_energy_range_uj": "99999999"}.items():
        (core / name).write_text(text)
    with EnergyMeter(powercap=powercap) as energy:
        package.use(10)
        (core / "energy_uj").write_text("7000000")

    assert energy.cpu_joules == pytest.approx(10, rel=1e-4)


@linux
def test_a_meter_that_fails_on_the_way_leaves_no_partial_figure(powercap):
    package = Package(powercap, 0)
    with EnergyMeter(powercap=powercap) as energy:
        package.use(10)
        (package.folder / "energy_uj").unlink()
        time.sleep(0.15)

    assert energy.metrics() == {}


@linux
def test_a_failing_block_still_has_its_energy_and_leaves_no_thread(powercap):
    package = Package(powercap, 0)
    energy = EnergyMeter(powercap=powercap)

    def fail():
        with energy:
            package.use(3)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()

    assert energy.cpu_joules == pytest.approx(3, rel=1e-4)
    assert "energy" not in [thread.name for thread in threading.enumerate()]


@linux
def test_a_meter_can_be_used_again(powercap):
    package = Package(powercap, 0)
    energy = EnergyMeter(powercap=powercap)
    for joules in (3, 8):
        with energy:
            package.use(joules)

    assert energy.cpu_joules == pytest.approx(8, rel=1e-4)


class TestDevices:
    @pytest.fixture
    def gpus(self, monkeypatch):
        """Three GPUs as codecarbon knows them, of which the last has no energy counter."""
        from codecarbon.core import gpu
        from codecarbon.core.gpu_device import GPUDevice

        class Gpu(GPUDevice):
            def _get_total_energy_consumption(self):
                return self.handle["millijoules"]

            def _get_power_usage(self):
                return 70

            def _get_gpu_name(self):
                return "gpu"

            def _get_uuid(self):
                return self.handle["uuid"]

            def _get_power_limit(self):
                return 700

            def _get_memory_info(self):
                return SimpleNamespace(total=1)

        handles = [{"uuid": f"GPU-{name}", "millijoules": 9_000_000} for name in "abc"]
        handles[2]["millijoules"] = None
        devices = gpu.AllGPUDevices

        def found():
            every = devices()
            every.devices = [Gpu(handle, number) for number, handle in enumerate(handles)]
            every.device_count = len(handles)
            return every

        monkeypatch.setattr(gpu, "AllGPUDevices", found)
        monkeypatch.setattr(gpu, "is_gpu_details_available", lambda: True)
        return handles

    @pytest.fixture
    def torch_sees(self, monkeypatch):
        def see(*uuids, started=True):
            cuda = SimpleNamespace(
                is_initialized=lambda: started,
                device_count=lambda: len(uuids),
                get_device_properties=lambda number: SimpleNamespace(uuid=uuids[number]),
            )
            monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

        return see

    def test_the_gpus_that_torch_sees_count_and_others_do_not(self, gpus, torch_sees, powercap):
        torch_sees("a")
        with EnergyMeter(powercap=powercap) as energy:
            gpus[0]["millijoules"] += 50_000
            gpus[1]["millijoules"] += 9_999_000

        assert energy.metrics() == {
            "energy.joules": pytest.approx(50, rel=1e-4),
            "energy.device_joules": pytest.approx(50, rel=1e-4),
        }

    @linux
    def test_the_sum_is_of_both(self, gpus, torch_sees, powercap):
        torch_sees("a", "b")
        package = Package(powercap, 0)
        with EnergyMeter(powercap=powercap) as energy:
            package.use(5)
            gpus[0]["millijoules"] += 50_000
            gpus[1]["millijoules"] += 20_000

        assert energy.metrics() == {
            "energy.joules": pytest.approx(75, rel=1e-4),
            "energy.cpu_joules": pytest.approx(5, rel=1e-4),
            "energy.device_joules": pytest.approx(70, rel=1e-4),
        }

    def test_a_gpu_without_a_counter_makes_no_figure(self, gpus, torch_sees, powercap):
        torch_sees("a", "c")
        with EnergyMeter(powercap=powercap) as energy:
            gpus[0]["millijoules"] += 50_000

        assert energy.metrics() == {}

    def test_a_job_that_does_not_use_cuda_has_no_gpu_energy(self, gpus, torch_sees, powercap):
        torch_sees("a", started=False)
        with EnergyMeter(powercap=powercap) as energy:
            gpus[0]["millijoules"] += 50_000

        assert energy.metrics() == {}
