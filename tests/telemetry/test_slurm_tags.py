import pytest

from tiltyard.telemetry.slurm import LOG_FILE, copy_log, slurm_tags


@pytest.fixture
def job(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "14")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SUBMITIT_FOLDER", str(tmp_path))
    return tmp_path / "12_3_0_log.out"


def test_a_job_of_an_array_is_tagged_with_its_id_and_its_log(job):
    assert slurm_tags() == {"tiltyard.slurm.job": "12_3", "tiltyard.log": str(job)}


def test_a_process_that_submitit_did_not_start_has_no_log(job, monkeypatch):
    monkeypatch.delenv("SUBMITIT_FOLDER")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    assert slurm_tags() == {"tiltyard.slurm.job": "14"}


def test_elsewhere_there_are_no_tags(monkeypatch, tmp_path):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SUBMITIT_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    assert slurm_tags() == {}
    copy_log(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_the_job_printed_so_far_is_kept(job, tmp_path):
    job.write_text("loading\n")
    (tmp_path / "run").mkdir()
    copy_log(tmp_path / "run")
    assert (tmp_path / "run" / LOG_FILE).read_text() == "loading\n"
