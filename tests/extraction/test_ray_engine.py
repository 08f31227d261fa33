"""Extraction on a Ray cluster whose workers and nodes die."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from extraction.extractors.histogram import Histogram
from extraction.extractors.table import build_extractor
from extraction.images import list_images
from extraction.pipeline import begin, extract
from extraction.ray_engine import RUNS, write_shards_on_ray
from extraction.store.reader import FeatureStore
from tests.extraction.deadly import DeadlyRecipe
from tests.extraction.pictures import tree, write_picture
from tests.processes import HANGS, run

psutil = pytest.importorskip("psutil")
COMMAND = "import sys; sys.path.remove(''); sys.path.append({home!r}); from delg.commands import run; run('extract')"
COMPOSED = "pair(global=\"concat(parts=['histogram', 'rootsift'])\", local=\"rootsift\")"
HOME = str(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    noticed = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    noticed |= {"health_check_timeout_ms": 1000 * HANGS}  # a busy node answers late, that of a dead one refuses at once
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": noticed})
    nodes = [made.add_node(num_cpus=1)]
    yield made, nodes
    made.shutdown()


def workers() -> list[psutil.Process]:
    """Processes of this test's cluster that run our task now."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # gone meanwhile
            found += [process] if "ray::task" in " ".join(process.cmdline()) else []
    return found


@pytest.mark.slow
def test_a_worker_and_a_node_may_die_and_a_users_own_extraction_is_no_hindrance(cluster, tmp_path):
    made, nodes = cluster
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(200):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((120, 90)).save(
            tmp_path / "photos" / f"{i:03d}.png"
        )
    (tmp_path / "photos" / "bad.png").write_text("no image")
    (tmp_path / "extraction").mkdir()
    (tmp_path / "extraction" / "__init__.py").write_text("raise RuntimeError('the user\\'s own')")
    flags = ["--images_dir=photos", f"--model={COMPOSED}", "--output_dir=store", "--engine=ray", "--num_threads=1"]
    job = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(home=HOME), *flags, f"--ray_address={made.address}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + HANGS
    while not (found := workers()) and job.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    found[0].send_signal(signal.SIGKILL)
    while not list((tmp_path / "store").glob("shard-*")) and job.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    assert job.poll() is None, "the node is to be killed before the end"
    made.remove_node(nodes.pop(), allow_graceful=False)
    printed, errors = job.communicate(timeout=HANGS)
    assert job.returncode == 0, errors
    assert printed.endswith("store: 200 images, 1 skipped: bad (not an image that Pillow can decode)\n")
    extract(build_extractor(COMPOSED), list_images(tmp_path / "photos"), tmp_path / "alone", progress=False)
    assert tree(tmp_path / "store") == tree(tmp_path / "alone")


@pytest.mark.slow
def test_an_image_that_kills_every_worker_is_skipped_and_where_all_do_the_job_ends(cluster, tmp_path):
    made, _ = cluster
    for i, name in enumerate(["a", "deadly", "b", "c"]):
        write_picture(tmp_path / "some" / f"{name}.jpg", 40, 60, seed=i)
    for name in ("deadly_1", "deadly_2"):
        write_picture(tmp_path / "all" / f"{name}.jpg", 40, 60)
    recipe = DeadlyRecipe("deadly", {}, {})
    writer = begin(recipe.build(), list_images(tmp_path / "some"), tmp_path / "store")
    write_shards_on_ray(recipe, writer, address=made.address, num_threads=1, progress=False)
    store = writer.finish()
    assert store.names == ["a", "b", "c"]
    assert store.skipped == [{"name": "deadly", "reason": f"the worker that described it died, {RUNS} times in turn"}]
    writer = begin(recipe.build(), list_images(tmp_path / "all"), tmp_path / "other")
    with pytest.raises(InputError, match="workers of the cluster die at every image, deadly_1 first"):
        write_shards_on_ray(recipe, writer, address=made.address, num_threads=1, progress=False)
    (tmp_path / "some" / "deadly.jpg").unlink()
    extract(Histogram(), list_images(tmp_path / "some"), tmp_path / "alone", progress=False)
    assert np.array_equal(store.global_descriptors, FeatureStore.open(tmp_path / "alone").global_descriptors)


def test_what_does_not_go_together_and_a_cluster_that_is_not_there(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    flags = ["--images_dir=.", "--model=rootsift", "--output_dir=o", "--engine=ray"]
    done = run("extract", *flags, "--num_shards=2", cwd=tmp_path)
    assert done.returncode == 1 and "--num_shards cannot be combined with --engine=ray" in done.stderr
    done = run("extract", *flags[:-1], "--ray_address=127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 1 and "--ray_address cannot be combined with --engine=local" in done.stderr
    pytest.importorskip("ray")
    done = run("extract", *flags, "--ray_address=127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "The Ray cluster 127.0.0.1:1 cannot be reached" in done.stderr
