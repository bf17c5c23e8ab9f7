"""Two synths give the same bytes, wherever and however they are made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings import ENVIRONMENTS, load, load_all
from ops.console import ROOT
from tests.conftest import Stacks, synthesize

SOURCES = (
    "main.py",
    "cdktf.json",
    "Pipfile",
    "Pipfile.lock",
    "environments",
    "handlers",
    "rollbook",
    "infra",
    "site",
    "terraform.lock.hcl",
)

WORKSHOP = "workshop"
NAMES = [settings.name for settings in load_all()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".terraform" not in path.as_posix()
    }


def copy_project(folder: Path) -> None:
    """Copy what a synth needs, with what the zips vendor, so that nothing is fetched."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, folder / name)
    shutil.copytree(ROOT / ".cache" / "lambda-packages", folder / ".cache" / "lambda-packages")


@pytest.mark.parametrize(
    "environment", [WORKSHOP, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name != WORKSHOP)]
)
def test_a_synth_in_another_folder_zone_and_hash_seed_gives_the_same_files(
    stacks: Stacks, tmp_path: Path, environment: str
) -> None:
    project = tmp_path / "another" / "place"
    project.mkdir(parents=True)
    copy_project(project)
    done = subprocess.run(
        [sys.executable, "main.py", environment],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = project / "cdktf.out" / "stacks"
    names = load(ENVIRONMENTS / f"{environment}.toml").stack_names
    assert sorted(path.name for path in made.iterdir()) == sorted(names)
    for name in names:
        here, there = contents(stacks.path(name)), contents(made / name)
        assert here.keys() == there.keys()
        assert [path for path in here if here[path] != there[path]] == []


def test_a_synth_of_one_environment_writes_the_same_files_and_leaves_the_others(stacks: Stacks, tmp_path: Path) -> None:
    other = tmp_path / "stacks" / "workshop" / "cdk.tf.json"
    other.parent.mkdir(parents=True)
    other.write_text("of an earlier synth")
    synthesize(tmp_path, "main.py", "production")
    for name in load(ENVIRONMENTS / "production.toml").stack_names:
        assert contents(tmp_path / "stacks" / name) == contents(stacks.path(name))
    assert other.read_text() == "of an earlier synth"
    assert not (tmp_path / "stacks" / "local").exists()


@pytest.mark.slow
def test_the_quick_import_of_the_provider_changes_nothing(stacks: Stacks, tmp_path: Path) -> None:
    """The package as it is, imported before `infra` can put its own in place."""
    program = "import runpy, cdktf_cdktf_provider_aws; runpy.run_path('main.py', run_name='__main__')"
    synthesize(tmp_path, "-c", program)
    assert contents(tmp_path) == contents(stacks.folder)


def test_bad_settings_end_the_synth_with_one_message(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "environments", tmp_path / "environments")
    for folder in ("handlers", "infra", "rollbook"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copyfile(ROOT / "main.py", tmp_path / "main.py")
    workshop = tmp_path / "environments" / "workshop.toml"
    workshop.write_text(workshop.read_text().replace("cron(0 0 * * ? *)", "cron(0 0 * * SUN)"))
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "workshop.toml: backups.schedule_expression = 'cron(0 0 * * SUN)'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_of_one_capability_leaves_the_others_as_they_are(stacks: Stacks, tmp_path: Path) -> None:
    """A hash over references would change with every resource that comes before them."""
    copy_project(tmp_path)
    # Not what this is about: they are named by what is in them, so those that are there already are the same.
    (tmp_path / ".cache" / "zips").symlink_to(ROOT / ".cache" / "zips")
    for environment in (tmp_path / "environments").glob("*.toml"):
        if environment.name != "workshop.toml":
            environment.unlink()
    workshop = tmp_path / "environments" / "workshop.toml"
    workshop.write_text(workshop.read_text().replace("[backups]\n", '[backups]\nengine = "scan"\n'))
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    changed = Stacks(tmp_path / "cdktf.out").resources("workshop", "aws_api_gateway_deployment")
    assert len(changed) == 1
    assert changed == stacks.resources("workshop", "aws_api_gateway_deployment")


def test_no_command_loads_cdktf() -> None:
    """It starts Node, which takes seconds; only a synth, in a process of its own, needs it."""
    program = "import sys, ops.__main__; print({'jsii', 'cdktf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stdout + done.stderr
